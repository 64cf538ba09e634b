-- Grain: one row per published figure of a year.
create table if not exists target_roles (
    "year" bigint not null,
    target_id varchar not null check (target_id <> ''),
    family varchar not null check (family <> ''),
    variable varchar not null check (variable <> ''),
    measure varchar not null check (measure in ('sum', 'count')),
    geography varchar not null check (length(geography) = 2),
    condition varchar not null,
    "value" double not null check (isfinite("value")),
    unit varchar not null check (unit in ('dollars', 'returns', 'persons', 'households')),
    period varchar not null check (period <> ''),
    publisher varchar not null check (publisher <> ''),
    published_table varchar not null check (published_table <> ''),
    "role" varchar not null check ("role" in ('fitted', 'held_out', 'benchmark', 'rejected')),
    fold bigint check (fold >= 0),
    reason varchar not null check (reason <> ''),
    scale double not null check (scale > 0 and isfinite(scale)),
    support bigint not null check (support >= 0),
    one_household_least double check (one_household_least >= 0 and isfinite(one_household_least)),
    one_household_most double check (one_household_most >= 0 and isfinite(one_household_most)),
    primary key ("year", target_id),
    check ("role" not in ('fitted', 'held_out') or support > 0),
    check (fold is null or "role" in ('fitted', 'held_out')),
    check (one_household_least <= one_household_most),
    check ((measure = 'sum') = (unit = 'dollars')),
    check (measure = 'sum' or "value" >= 0)
);

comment on table target_roles is 'Where every target ended, once the survey shows how many households carry it';
comment on column target_roles."year" is 'Year that the figure is about';
comment on column target_roles.target_id is 'The figure''s identifier: figures.figure_id';
comment on column target_roles.family is 'Subject and level, for errors by family and a stratified holdout';
comment on column target_roles.variable is 'What is measured';
comment on column target_roles.measure is 'sum: dollars; count: units on which the variable is not zero';
comment on column target_roles.geography is 'US, two-digit FIPS code as text, or OA for other areas';
comment on column target_roles.condition is 'Who is counted: age, income class, filing status; empty for all';
comment on column target_roles."value" is 'The published total in units, never in thousands';
comment on column target_roles.unit is 'Unit of value: dollars, returns, persons or households';
comment on column target_roles.period is 'Exactly when: tax year, calendar year, fiscal year, month or day';
comment on column target_roles.publisher is 'Agency that printed the figure';
comment on column target_roles.published_table is 'Publication and table in which it is printed';
comment on column target_roles."role" is 'fitted, held_out, benchmark (compared only) or rejected';
comment on column target_roles.fold is 'Rotation of the hold-out that keeps it from the fit; null for benchmark and rejected';
comment on column target_roles.reason is 'Why the target has this role';
comment on column target_roles.scale is 'What errors are divided by: |value| or a floor, in the unit of value';
comment on column target_roles.support is 'Households of the survey that contribute';
comment on column target_roles.one_household_least is 'Least error, as a share of scale, from leaving out one contributing household at its scaled design weight';
comment on column target_roles.one_household_most is 'Largest such error: what one household carries of the target';
