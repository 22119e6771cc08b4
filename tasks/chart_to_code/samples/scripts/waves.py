import matplotlib.pyplot as plt
import numpy as np

x = np.linspace(0, 6, 50)
fig, axes = plt.subplots(1, 2, figsize=(4, 2))
axes[0].plot(x, np.sin(x), color="red", label="sin")
axes[0].legend()
axes[1].scatter([1, 2, 3], [2, 3, 1], color="green")
plt.show()
