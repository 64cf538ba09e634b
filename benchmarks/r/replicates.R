# Estimates with standard errors from weights and replicate weights, by R's survey::svrepdesign.
#
#     Rscript benchmarks/r/replicates.R TABLE.csv SCALE
#
# TABLE.csv has a row a record: `weight`, replicate weights `rep_1`, `rep_2`, ..., and variables,
# all others that are numbers. The variance of an estimate is SCALE x the sum over replicates of
# (its estimate with the replicate - the full estimate)^2: SCALE is 1/R for the bootstrap.
# Prints a CSV: statistic, variable, estimate, se.

suppressPackageStartupMessages(library(survey))

arguments <- commandArgs(trailingOnly = TRUE)
table <- read.csv(arguments[1])
scale <- as.numeric(arguments[2])

is_replicate <- grepl("^rep_[0-9]+$", names(table))
is_variable <- !is_replicate & names(table) != "weight" & sapply(table, is.numeric)
variables <- names(table)[is_variable]

design <- svrepdesign(
  data = table[, is_variable, drop = FALSE],
  weights = table$weight,
  repweights = as.matrix(table[, is_replicate]),
  type = "other",
  scale = scale,
  rscales = rep(1, sum(is_replicate)),
  mse = TRUE,
  combined.weights = TRUE
)

estimates_of <- function(variable) {
  of_variable <- as.formula(paste("~", variable))
  total <- svytotal(of_variable, design)
  average <- svymean(of_variable, design)
  # the replicates' own medians, as in all other statistics, and no interval of shares
  middle <- svyquantile(of_variable, design, 0.5, interval.type = "quantile")
  data.frame(
    statistic = c("total", "mean", "median"),
    variable = variable,
    estimate = c(coef(total), coef(average), coef(middle)),
    se = c(SE(total), SE(average), SE(middle))
  )
}

write.csv(do.call(rbind, lapply(variables, estimates_of)), row.names = FALSE)
