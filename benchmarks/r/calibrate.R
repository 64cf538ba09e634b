# Weights of R's survey::calibrate on its api data, for tests/l0/test_classical_against_r.py.
#
#     Rscript benchmarks/r/calibrate.R FOLDER
#
# Writes into FOLDER the population's totals (api_totals.csv), and of each sample its records
# (NAME.csv) and its weights, one column a method (NAME_weights.csv).

suppressPackageStartupMessages(library(survey))

folder <- commandArgs(trailingOnly = TRUE)[1]
data(api)
columns <- c("stype", "pw", "fpc", "api00", "api99", "meals", "ell", "enroll")
model <- ~ stype + api99 + enroll

write_table <- function(table, name) {
  write.csv(table, file.path(folder, paste0(name, ".csv")), row.names = FALSE)
}

# schools of unknown enrolment count in all totals but that one
rows <- model.matrix(model, model.frame(model, apipop, na.action = na.pass))
totals <- colSums(rows, na.rm = TRUE)
write_table(data.frame(target = names(totals), value = totals), "api_totals")

weights_by_method <- function(design, bounds) {
  fit <- function(calfun, bounds = c(-Inf, Inf)) {
    weights(calibrate(design, model, totals,
      calfun = calfun, bounds = bounds, epsilon = 1e-12, maxit = 200
    ))
  }
  data.frame(
    linear = fit("linear"),
    raking = fit("raking"),
    linear_bounded = fit("linear", bounds),
    raking_bounded = fit("raking", bounds),
    logit_bounded = fit("logit", bounds)
  )
}

apistrat_design <- svydesign(id = ~1, strata = ~stype, weights = ~pw, fpc = ~fpc, data = apistrat)
write_table(apistrat[, columns], "apistrat")
write_table(weights_by_method(apistrat_design, c(0.8, 1.3)), "apistrat_weights")

apiclus1_design <- svydesign(id = ~dnum, weights = ~pw, fpc = ~fpc, data = apiclus1)
write_table(apiclus1[, columns], "apiclus1")
write_table(weights_by_method(apiclus1_design, c(0.5, 2)), "apiclus1_weights")
