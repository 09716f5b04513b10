"""
How many measurements are enough? A phase diagram
=================================================

You will learn to find out for your own sizes which sparse vectors can be recovered from how many measurements, with one
call.

There is a sharp answer: below a curve nearly every sparse vector is recovered, above it hardly any, and for Gaussian
matrices theory knows the curve. In each cell random problems with ``n`` unknowns, ``m`` measurements and ``s``
non-zeros are drawn and solved. The left panel minimises the ℓ1 norm, which is where gradient flow ends as its start
vanishes; the others show what a start that has *not* vanished gives away, at depths 2 and 3.
"""

import matplotlib.pyplot as plt

from hadaflow.experiments import phase_diagram

diagram = phase_diagram(n=40, m_over_n=10, s_over_m=10, repeats=5, depth=[None, 2, 3], jobs=1)

# %%
# Colours are shares of vectors recovered, dots the measured places of one half, the line is the theory. From the same
# product scale, 1e-6, depth 3 is as good as the minimiser itself and depth 2 is not: its limit comes near the minimiser
# far more slowly as the start shrinks.

diagram.plot()
plt.show()

# %%
# The numbers are there as tables, and the distance from theory in units of s / m.

for depth in (None, 2, 3):
    print(depth, diagram.deviation(depth=depth))
print(diagram.half(depth=None).round(2).to_string(index=False))

# %%
# On all cores, with a folder in which a broken-off diagram goes on, and with ensembles of your own:
# :doc:`/phase_diagrams`.
