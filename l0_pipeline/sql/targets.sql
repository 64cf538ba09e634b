-- Grain: one row per published figure of a year.
create table if not exists targets (
    "year" bigint not null,
    target_id varchar not null check (target_id <> ''),
    family varchar not null check (family <> ''),
    variable varchar not null check (variable <> ''),
    measure varchar not null check (measure in ('sum', 'count')),
    universe varchar not null check (universe in ('returns', 'itemizing_returns', 'residents')),
    geography varchar not null check (length(geography) = 2),
    filters struct("column" varchar, "operator" varchar, "value" varchar)[] not null,
    "value" double not null check (isfinite("value")),
    unit varchar not null check (unit in ('dollars', 'returns', 'persons', 'households')),
    standard_error double check (standard_error >= 0 and isfinite(standard_error)),
    period varchar not null check (period <> ''),
    publisher varchar not null check (publisher <> ''),
    published_table varchar not null check (published_table <> ''),
    aged_from bigint,
    records varchar not null check (records in ('everyone', 'filers', 'itemizers')),
    microdata_column varchar not null,
    closeness varchar not null check (closeness in ('same', 'close', 'different', 'absent')),
    "role" varchar not null check ("role" in ('fitted', 'held_out', 'benchmark', 'rejected')),
    fold bigint check (fold >= 0),
    reason varchar not null check (reason <> ''),
    note varchar not null,
    primary key ("year", target_id),
    check (aged_from <> "year"),
    check (fold is null or "role" in ('fitted', 'held_out')),
    check ((measure = 'sum') = (unit = 'dollars')),
    check (measure = 'sum' or "value" >= 0)
);

comment on table targets is 'Published totals that calibrated weights are asked to match, with the role of each and why';
comment on column targets."year" is 'Year that the figure is about';
comment on column targets.target_id is 'The figure''s identifier: figures.figure_id';
comment on column targets.family is 'Subject and level, for errors by family and a stratified holdout';
comment on column targets.variable is 'What is measured';
comment on column targets.measure is 'sum: dollars; count: units on which the variable is not zero';
comment on column targets.universe is 'Filed returns, itemizing returns or residents';
comment on column targets.geography is 'US, two-digit FIPS code as text, or OA for other areas';
comment on column targets.filters is 'Clauses that hold together; lower bound included, upper not';
comment on column targets."value" is 'The published total in units, never in thousands';
comment on column targets.unit is 'Unit of value: dollars, returns, persons or households';
comment on column targets.standard_error is 'Sampling error of value, in its unit; null where none is published';
comment on column targets.period is 'Exactly when: tax year, calendar year, fiscal year, month or day';
comment on column targets.publisher is 'Agency that printed the figure';
comment on column targets.published_table is 'Publication and table in which it is printed';
comment on column targets.aged_from is 'Year that the figure was printed for, where growth brought it to this year; else null';
comment on column targets.records is 'Tax units of the survey that stand for the universe';
comment on column targets.microdata_column is 'Measure of the microdata; empty where there is none';
comment on column targets.closeness is 'How close the two definitions are: same to absent';
comment on column targets."role" is 'Role as declared: fitted, held_out, benchmark (compared only) or rejected; settled in target_roles';
comment on column targets.fold is 'Rotation of the hold-out that keeps it from the fit; null for benchmark and rejected';
comment on column targets.reason is 'Why the target has this role';
comment on column targets.note is 'Warnings about the figure; empty for none';
