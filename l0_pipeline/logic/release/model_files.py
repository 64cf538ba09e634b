"""The files of a release that tax-benefit models read: Tax-Calculator's and PolicyEngine's."""
