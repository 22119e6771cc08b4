# ===================
# Part 1: Importing Libraries
# ===================
import matplotlib.pyplot as plt

# ===================
# Part 2: Data Preparation
# ===================
names = ["north", "south"]
values = [4, 7]

# ===================
# Part 3: Plot Configuration and Rendering
# ===================
fig, ax = plt.subplots(figsize=(3, 2))
ax.bar(names, values, color="#4477aa")
ax.set_ylabel("Count")

# ===================
# Part 4: Saving Output
# ===================
plt.tight_layout()
plt.savefig("bar_1.pdf", bbox_inches="tight")
