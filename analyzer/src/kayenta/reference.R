# Prints the reference values of kayenta/tests.rs.
#
# Made with R 4.2.2: Rscript reference.R
# The limits are those of wilcox.test, which Kayenta's judge follows; its estimate keeps the continuity
# correction, which R has dropped since, so that one is the root of the same score by R's uniroot.
options(digits = 17)

i <- function(n) 0:(n - 1)
wave <- function(n, middle, height, step, start) middle + height * sin(step * i(n) + start)
cases <- list(
  four = list(c(10, 20, 30, 40), c(1, 2, 3, 4)),
  two = list(c(9, 11), c(1, 2)),
  unequal = list(c(3.5, 4.5, 5.5, 2.5, 9), c(1, 2, 2.5, 3, 4, 4.5, 6, 8)),
  one_many = list(20, 1:9),
  same = list(wave(60, 10, 3, 1.7, 0), wave(60, 10, 3, 2.3, 1)),
  higher = list(wave(60, 12, 3, 1.7, 0), wave(60, 10, 3, 2.3, 1)),
  lower = list(wave(45, 7, 3, 1.7, 0), wave(60, 10, 3, 2.3, 1)),
  tied = list(floor(wave(60, 11, 3, 1.7, 0)), floor(wave(50, 10, 3, 2.3, 1))),
  sparse = list(pmax(0, floor(wave(60, 0, 2.2, 1.7, 0))), pmax(0, floor(wave(60, 0, 1.5, 2.3, 1)))),
  tiny = list(wave(60, 2e-5, 3e-6, 1.7, 0), wave(60, 1e-5, 3e-6, 2.3, 1)),
  large = list(wave(60, 1.2e6, 3e5, 1.7, 0), wave(60, 1e6, 3e5, 2.3, 1))
)
for (name in names(cases)) {
  x <- cases[[name]][[1]]
  y <- cases[[name]][[2]]
  test <- suppressWarnings(wilcox.test(x, y, conf.int = TRUE, conf.level = 0.98, exact = FALSE))
  z <- function(d) {
    ranks <- rank(c(x - d, y))
    ties <- table(ranks)
    m <- length(x)
    n <- length(y)
    excess <- sum(ranks[seq_along(x)]) - m * (m + 1) / 2 - m * n / 2
    sd <- sqrt(m * n / 12 * (m + n + 1 - sum(ties^3 - ties) / ((m + n) * (m + n - 1))))
    (excess - sign(excess) * 0.5) / sd
  }
  estimate <- uniroot(z, c(min(x) - max(y), max(x) - min(y)), tol = 1e-4)$root
  cat(sprintf('("%s", %s, %s, %s),\n', name, format(test$conf.int[1]), format(test$conf.int[2]), format(estimate)))
}
cat("quantiles", format(quantile(c(3, 1, 4, 1, 5, 9, 2, 6), c(0.01, 0.25, 0.75, 0.99), type = 7)), "\n")
