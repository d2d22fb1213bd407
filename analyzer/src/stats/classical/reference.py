"""Prints the reference values of stats/classical/tests.rs.

Made with SciPy 1.17.1 and NumPy 2.4.6 on Python 3: python3 reference.py
Exact laws with ties, which SciPy lacks, come from going through every way to deal the pool.
"""
from itertools import combinations

import numpy as np
from scipy import stats
from scipy.special import kolmogorov

A, B = [1.1, 2.3, 2.9, 4.0, 5.6], [2.0, 3.1, 4.4, 6.2, 7.0, 8.8]
C, D = [1, 1, 2, 2, 3, 5], [1, 2, 2, 3, 3, 4, 6]
I = np.arange(200)
E, F = 10 + 3 * np.sin(1.7 * I[:60]), 10.8 + 3 * np.sin(2.3 * I[:75] + 1)
G, H = np.floor(E), np.floor(F)
K, L = 10 + 3 * np.sin(1.7 * I[:20]), 13 + 5 * np.sin(2.3 * I[:35] + 1)
SETS = {"A,B": (A, B), "C,D": (C, D), "E,F": (E, F), "G,H": (G, H), "K,L": (K, L)}


def deals(x, y):
    pool = np.array(list(x) + list(y), float)
    for chosen in combinations(range(len(pool)), len(x)):
        mask = np.zeros(len(pool), bool)
        mask[list(chosen)] = True
        yield pool[mask], pool[~mask]


def u_of(x, y):
    x, y = np.array(x, float), np.array(y, float)
    return (x[:, None] > y[None, :]).sum() + 0.5 * (x[:, None] == y[None, :]).sum()


def gap_of(x, y):
    pool = np.unique(np.concatenate([x, y]))
    m, n = len(x), len(y)
    below = lambda s: np.searchsorted(np.sort(s), pool, side="right")
    return np.abs(below(np.array(x, float)) * n - below(np.array(y, float)) * m).max()




for name, (base, canary) in SETS.items():
    m, n = len(canary), len(base)
    print(name, "u", u_of(canary, base))
    for kind in ("less", "greater", "two-sided"):
        print("  mwu asymptotic", kind, repr(stats.mannwhitneyu(canary, base, alternative=kind, method="asymptotic").pvalue))
    if name in ("A,B", "K,L", "E,F"):
        for kind in ("less", "greater", "two-sided"):
            print("  mwu exact", kind, repr(stats.mannwhitneyu(canary, base, alternative=kind, method="exact").pvalue))
    w = stats.ttest_ind(canary, base, equal_var=False)
    print("  welch", repr(w.statistic), repr(w.df), repr(w.pvalue), "98 %", w.confidence_interval(0.98))
    ks = stats.ks_2samp(canary, base, method="exact")
    print("  ks d, exact without ties", repr(ks.statistic), repr(ks.pvalue))
    ad = stats.anderson_ksamp([np.array(base, float), np.array(canary, float)], variant="midrank")
    print("  ad", repr(ad.statistic), repr(ad.pvalue))

u0, g0 = u_of(D, C), gap_of(D, C)
us = np.array([u_of(x, y) for x, y in deals(D, C)])
gs = np.array([gap_of(x, y) for x, y in deals(D, C)])
print("C,D exact less, greater", repr((us <= u0).mean()), repr((us >= u0).mean()), "ks", repr((gs >= g0).mean()))
print("kolmogorov", [(x, repr(float(kolmogorov(x)))) for x in (0.3, 0.8, 1.0, 1.36, 2.5, 4.0)])
three = stats.anderson_ksamp([np.array(A), np.array(B), np.array(K)], variant="midrank")
print("ad of A, B, K", repr(three.statistic), repr(three.pvalue))
# The authors' fit of the quantiles for k samples, m = k - 1: b0 + b1 / sqrt(m) + b2 / m.
B0, B1, B2 = [0.675, 1.281, 1.645, 1.96, 2.326], [-0.245, 0.25, 0.678, 1.149, 1.822], [-0.105, -0.305, -0.362, -0.391, -0.396]
for m in (1, 4):
    print("tails .25 .1 .05 .025 .01, m =", m, [round(x + y / m ** 0.5 + z / m, 5) for x, y, z in zip(B0, B1, B2)])
deals_ad = [stats.anderson_ksamp([x, y], variant="midrank").statistic for x, y in deals(A, B)]
own = stats.anderson_ksamp([np.array(A), np.array(B)], variant="midrank").statistic
print("A,B anderson over all deals", np.mean(np.array(deals_ad) >= own - 1e-9))
for table in (((5, 100), (12, 90)), ((3, 20), (0, 15)), ((0, 50), (0, 60)), ((300, 40_000), (45, 2_000)),
              ((2600, 5_120_000), (60, 51_700)), ((7, 9), (1, 11))):
    (xb, nb), (xc, nc) = table
    grid = [[xc, nc - xc], [xb, nb - xb]]
    print("fisher", table, [repr(float(stats.fisher_exact(grid, alternative=kind).pvalue)) for kind in ("less", "greater", "two-sided")])
