"""Prints the reference values of stats/reference.rs.

Made with SciPy 1.17.1 on Python 3: python3 reference.py
"""
from scipy import stats

print("normal_sf", [(z, stats.norm.sf(z)) for z in (-3.0, 0.0, 1.0, 2.5, 6.0, 12.0, 30.0)])
print("normal_isf", [(p, stats.norm.isf(p)) for p in (0.9, 0.5, 0.05, 1e-3, 2.78e-8, 1e-15)])
print("t_sf", [(nu, t, stats.t.sf(t, nu)) for nu, t in
      ((1, 2.0), (4, -1.5), (9, 3.3), (58, 5.1), (238, 4.0), (1498, 3.0), (1498, 7.5), (20000, 4.5))])
print("t_isf", [(nu, p, stats.t.isf(p, nu)) for nu, p in ((2, 1e-4), (10, 1e-6), (238, 3e-4), (1498, 2.8e-7))])
print("beta_cdf", [(a, b, x, stats.beta.cdf(x, a, b)) for a, b, x in
      ((0.5, 0.5, 0.3), (1, 999, 0.002), (26, 3183, 0.004), (3183, 26, 0.999), (120, 8000, 0.02), (5, 1e6, 2e-5))])
print("upper", [(x, n, u, stats.beta.isf(u, x + 1, n - x)) for x, n, u in
      ((0, 1000, 0.05), (3, 500, 0.01), (25, 3207, 1e-4), (400, 40000, 1e-3))])
print("lower", [(x, n, u, stats.beta.ppf(u, x, n - x + 1)) for x, n, u in
      ((1, 1000, 0.05), (3, 500, 0.01), (25, 3207, 1e-4), (400, 40000, 1e-3))])
print("poisson_upper", [(x, u, stats.gamma.isf(u, x + 1)) for x, u in ((0, 0.05), (7, 1e-3), (300, 1e-4))])
print("poisson_lower", [(x, u, stats.gamma.ppf(u, x)) for x, u in ((1, 0.05), (7, 1e-3), (300, 1e-4))])
print("chi2_sf", [(x, df, stats.chi2.sf(x, df)) for x, df in ((14.3, 11), (123.5, 95), (40.0, 12))])
# One look: the conditional test of two Poisson rates is a binomial test.
print("binomial", [(x, m, r, stats.binom.sf(x - 1, m, r)) for x, m, r in ((9, 10, 0.5), (14, 60, 0.1), (300, 900, 0.3))])
# Long after the first look, n_T for one look equals the budget; two looks by the bivariate normal.
from scipy.stats import multivariate_normal
from scipy.optimize import brentq
a = 0.01
c1 = stats.norm.isf(a / 4)
joint = multivariate_normal(mean=[0, 0], cov=[[1, 1], [1, 2]])
def second(c):
    both_below = joint.cdf([c1, c])
    return stats.norm.cdf(c1) - both_below - 3 * a / 4
c2 = brentq(second, 0.5, 8)
print("two_looks", stats.norm.sf(c2 / 2 ** 0.5))
