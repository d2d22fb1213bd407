#!/usr/bin/env python3
"""Reference values for `stats::births`, written from the page alone with NumPy and SciPy.

Made with Python 3, NumPy 2.4.6, SciPy 1.17.1: `python3 reference.py`. The draws come from a
linear congruential generator that the test repeats.
"""
import numpy as np
from scipy import stats

state = 20261121


def draw():
    global state
    total = 0.0
    for _ in range(4):
        state = (state * 1103515245 + 12345) % 2**31
        total += state / 2**31
    return total - 2.0


N_OLD, P, LIFE, T, AGE, N_CANARY, N_FRESH = 6, 240, 120, 60, 5, 2, 3
EVENTS = [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 4]


def course(n):
    level = 0.5 * draw()
    return np.array([level + draw() for _ in range(n)])


old = np.array([course(P) for _ in range(N_OLD)])
births = np.array([course(LIFE) for _ in EVENTS])


def clip(values):
    med = np.median(old)
    limit = 4 * 1.4826 * np.median(np.abs(old - med))
    return np.clip(values, med - limit, med + limit)


old_c, births_c = clip(old), clip(births)
a = old_c.mean(axis=1)


def v(t):
    windows = old_c[:, : P // t * t].reshape(N_OLD, P // t, t).mean(axis=2)
    return ((windows - a[:, None]) ** 2).mean() * N_OLD / (N_OLD - 1) / (1 - t / P)


levels = births_c[:, AGE:LIFE].mean(axis=1)
sizes = np.bincount(EVENTS)
K, J = len(EVENTS), len(sizes)
within = sum(((levels[np.array(EVENTS) == j] - levels[np.array(EVENTS) == j].mean()) ** 2).sum() for j in range(J))
between = sum(sizes[j] * (levels[np.array(EVENTS) == j].mean() - levels.mean()) ** 2 for j in range(J))
among = ((a - a.mean()) ** 2).sum()
n0 = (K - (sizes**2).sum() / K) / (J - 1)
tau2 = (among + within) / (N_OLD - 1 + K - J)
omega2 = max(0.0, between / (J - 1) - within / (K - J)) / n0
df_tau = N_OLD - 1 + K - J
df_v = max(4, (N_OLD - 1) * P / (1.5 * T))
y = births_c[:, AGE : AGE + T].mean(axis=1)
floor = max(1.0, y.var(ddof=1) / (tau2 + omega2 + v(T) * (1 + 1 / N_OLD)))


def law(name, parts, factor, taken_off):
    V = sum(p for p, _ in parts)
    nu = V**2 / sum(p * p / df for p, df in parts if p > 0)
    V *= factor
    print(f"{name}: taken_off {taken_off:.15g} variance {V:.15g} nu {nu:.15g} "
          f"announced {(stats.t.isf(3.12e-4, nu) + 0.842) * V**0.5:.15g}")


law("births", [(tau2 * (1 / N_CANARY + 1 / K), df_tau), (omega2 * (1 + (sizes**2).sum() / K**2), J - 1),
               (v(T) * (1 / N_CANARY + 1 / K + 1 / N_OLD), df_v)], floor, y.mean())
law("fresh", [(tau2 * (1 / N_CANARY + 1 / N_FRESH), df_tau), (v(T) * (1 / N_CANARY + 1 / N_FRESH), df_v)],
    max(1.0, y.var(ddof=1) / (tau2 + v(T) * (1 + 1 / N_OLD))), 0.0)
tau2_old = among / (N_OLD - 1)
V = (tau2_old + v(T)) * (1 / N_CANARY + 1 / N_OLD)
print(f"old: variance {V:.15g} nu {N_OLD - 1}")
print(f"v(8) {v(8):.15g} v(60) {v(60):.15g} v(20) {np.exp(np.log(v(15)) + np.log(20 / 15) / np.log(2) * np.log(v(30) / v(15))):.15g}")
print(f"single: tau2 {(among + ((levels - levels.mean()) ** 2).sum()) / (N_OLD + K - 2):.15g} df {N_OLD + J - 2}")
