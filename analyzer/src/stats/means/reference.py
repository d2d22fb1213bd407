"""Procedure M a second time, with dense covariance matrices instead of filters.

Prints the reference values of stats/means/tests.rs. Made with NumPy 2 and SciPy 1.17.1: python3 reference.py
"""
import numpy as np
from scipy import stats


def data(n, offset):
    i = np.arange(n) + offset
    return np.sin(1.7 * i) + 0.5 * np.cos(0.37 * i * i)


def structures(row):
    shares = {"none": [(1.0, 0.85), (0.6, 0.15)], "short": [(1.0, 0.95), (0.6, 0.05)],
              "long": [(1.0, 0.85), (0.6, 0.10), (0.3, 0.05)]}[row]
    rho = lambda k: (1.3 ** k - 1) / (1.3 ** k + 1)
    out = [(0.0, 1.0, rho(1))]
    for k in range(1, 19):
        width = (rho(k + 1) - rho(k - 1)) / 2 if k < 18 else (1 - rho(17)) / 2
        extra = (1 - rho(k)) ** -0.3 if row == "none" else 1.0
        out += [(rho(k), f, width * share * extra) for f, share in shares]
    return out


def segment(y, rho, f):
    at = np.flatnonzero(np.isfinite(y))
    y = y[at]
    sigma = f * rho ** np.abs(at[:, None] - at[None, :]) + (1 - f) * np.eye(len(at))
    one = np.ones(len(at))
    solved = np.linalg.solve(sigma, np.column_stack([one, y]))
    a, b, c = one @ solved[:, 0], one @ solved[:, 1], y @ solved[:, 1]
    return a, b, c, np.linalg.slogdet(sigma)[1], len(at)


def look(pre, release, noise=1.0):
    """Mixture of shifts; weights from the history alone from 180 intervals on."""
    row = "none" if pre is None else "long" if np.isfinite(pre).sum() >= 600 else "short"
    parts = []
    for rho, f, prior in structures(row):
        a1, b1, c1, l1, n1 = segment(release, rho, f)
        rss1 = c1 - b1 ** 2 / a1
        if pre is None:
            rss, nu, terms = rss1, n1 - 1, np.log(a1) + l1
            v = rss / nu
            lw = -terms / 2 - nu / 2 * np.log(rss)
            parts.append((lw + np.log(prior), b1 / a1, np.sqrt(v / a1), 1.0))
            continue
        a0, b0, c0, l0, n0 = segment(pre, rho, f)
        rss0 = c0 - b0 ** 2 / a0
        nu = n0 + n1 - 2
        v = (rss0 + rss1 / noise) / nu
        own = (rss1 + 4 * v * noise) / (n1 + 3)
        growth = max(noise, own / v)
        if n0 >= 180:
            lw = -(np.log(a0) + l0) / 2 - (n0 - 1) / 2 * np.log(rss0)
        else:
            lw = -(np.log(a0) + l0 + np.log(a1) + l1) / 2 - nu / 2 * np.log(rss0 + rss1 / noise)
        parts.append((lw + np.log(prior), b1 / a1 - b0 / a0, np.sqrt(v / a0 + v * growth / a1), growth))
    lw = np.array([p[0] for p in parts])
    w = np.exp(lw - lw.max())
    return w / w.sum(), np.array([p[1] for p in parts]), np.array([p[2] for p in parts]), np.array([p[3] for p in parts]), nu


def answer(pre, release, x, noise=1.0):
    if pre is None:
        w, b, se, _, nu = look(None, release)
        return (w * stats.t.sf((b - x) / se, nu)).sum(), (w * stats.t.cdf((b - x) / se, nu)).sum(), (w * b).sum()
    ok = pre[np.isfinite(pre)]
    centre = np.median(ok)
    limit = 4 * 1.4826 * np.median(np.abs(ok - centre))
    results = []
    for clip in (True, False):
        p = pre - centre
        r = release - centre
        if clip:
            p = np.clip(p, -limit, limit)
            r = np.clip(r, -limit * np.sqrt(noise), limit * np.sqrt(noise))
        w, b, se, growth, nu = look(p, r, noise)
        p = p[np.isfinite(p)]
        r = r[np.isfinite(r)]
        n, t = len(p), len(r)
        k = min(t, n // 10)
        means = lambda k: np.array([p[i:i + k].mean() for i in range(n - k + 1)]) - p.mean()
        spread = np.sqrt((means(k) ** 2).mean() * (k / t) * (1 + t / n) / (1 - k / n) * (w * growth).sum())
        d = r.mean() - p.mean()
        harm = max((w * stats.t.sf((b - x) / se, nu)).sum(), stats.norm.sf((d - x) / spread))
        if t < n and d - x <= means(t).max() * np.sqrt(noise):
            harm = 1.0
        go = max((w * stats.t.cdf((b - x) / se, nu)).sum(), stats.norm.cdf((d - x) / spread))
        results.append((harm, go, (w * b).sum()))
    return results[0][0], max(r[1] for r in results), results[0][2]


pre = data(240, 0)
pre[50:55] = np.nan
pre[100] = 30.0
release = data(20, 1000) + 1.5
release[3] = np.nan
release[7] = 12.0
print("both", answer(pre, release, 0.0), answer(pre, release, 2.5))
print("noise", answer(pre, release, 0.0, 2.2), answer(pre, release, 2.5, 2.2))
short = data(90, 300)
print("short", answer(short, release, 0.0), answer(short, release, 4.0))
print("long", answer(data(700, 0), release, 0.0), answer(data(700, 0), release, 2.5))
print("none", answer(None, release, 0.0), answer(None, release, 4.0))
