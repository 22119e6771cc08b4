import matplotlib.pyplot as plt

plt.figure(figsize=(3, 2))
plt.bar(["a", "b", "c"], [3, 1, 2], color="tab:blue")
plt.title("Units")
plt.savefig("units.png")
