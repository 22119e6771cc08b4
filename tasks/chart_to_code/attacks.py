"""Scripts that try to be paid without drawing the chart that is shown."""

PYPLOT = "import matplotlib.pyplot as plt\n"

SCRIPTS = {
    "draws nothing": "x = 1",
    "only imports": PYPLOT,
    "prints": "print('text layout type color data image: 1.0')",
    "opens an empty figure": f"{PYPLOT}plt.figure(figsize=(6.4, 4.8))\nplt.show()",
    "draws empty axes": f"{PYPLOT}plt.close('all')\nplt.subplots()",
    "writes on an empty page": f"{PYPLOT}plt.close('all')\nplt.figure().text(0.5, 0.5, 'Sales by region')",
    "raises after drawing": f"{PYPLOT}plt.bar([1, 2, 3], [3, 1, 2])\nplt.savefig('chart.png')\nraise SystemExit(1)",
    "draws two figures": f"{PYPLOT}for _ in range(2):\n    plt.figure()\n    plt.bar([1, 2], [3, 1])\n    plt.show()",
    "opens a socket": f"{PYPLOT}import socket\nsocket.create_connection(('127.0.0.1', 80))\nplt.bar([1], [1])",
    "reads files": f"{PYPLOT}open('/etc/passwd').read()\nplt.bar([1], [1])",
}
"""What the script does -> its source. None of them may earn anything. They are the same for every row, so that they run
once for all rows of a check."""


EVERY_KIND = f"""{PYPLOT}x, y = [1, 2, 3], [3, 1, 2]
plt.bar(x, y)
plt.barh(x, y)
plt.plot(x, y)
plt.scatter(x, y)
plt.hist(y)
plt.pie(y)
plt.boxplot(y)
plt.fill_between(x, y)
plt.imshow([y, x])
plt.stem(x, y)"""
"""Draws charts of all kinds on top of each other: one of them is gold's."""
