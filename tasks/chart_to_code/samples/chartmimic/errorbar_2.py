# ===================
# Part 1: Importing Libraries
# ===================
import matplotlib.pyplot as plt

# ===================
# Part 2: Data Preparation
# ===================
x, y, spread = [1, 2, 3], [2, 4, 3], [0.2, 0.4, 0.3]

# ===================
# Part 3: Plot Configuration and Rendering
# ===================
plt.figure(figsize=(3, 2))
plt.errorbar(x, y, yerr=spread, color="purple")

# ===================
# Part 4: Saving Output
# ===================
plt.savefig("errorbar_2.pdf")
