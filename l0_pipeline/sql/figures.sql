-- Grain: one row per published figure of a year.
create table if not exists figures (
    "year" bigint not null,
    figure_id varchar not null check (figure_id <> ''),
    family varchar not null check (family <> ''),
    variable varchar not null check (variable <> ''),
    measure varchar not null check (measure in ('sum', 'count')),
    universe varchar not null check (universe in ('returns', 'itemizing_returns', 'residents')),
    geography varchar not null check (length(geography) = 2),
    filters varchar not null,
    "value" double not null check (isfinite("value")),
    unit varchar not null check (unit in ('dollars', 'returns', 'persons', 'households')),
    standard_error double check (standard_error >= 0 and isfinite(standard_error)),
    period varchar not null check (period <> ''),
    publisher varchar not null check (publisher <> ''),
    published_table varchar not null check (published_table <> ''),
    note varchar not null,
    "role" varchar check ("role" in ('fitted', 'benchmark', 'rejected')),
    aged_from bigint,
    file varchar not null check (file <> ''),
    line bigint not null check (line >= 1),
    primary key ("year", figure_id),
    check (aged_from <> "year"),
    check ((measure = 'sum') = (unit = 'dollars')),
    check (measure = 'sum' or "value" >= 0)
);

comment on table figures is 'Published figures as they were read, before any becomes a target';
comment on column figures."year" is 'Year that the figure is about';
comment on column figures.figure_id is 'The figure''s identifier, unique over all files of a year';
comment on column figures.family is 'Subject and level, for errors by family and a stratified holdout';
comment on column figures.variable is 'What is measured';
comment on column figures.measure is 'sum: dollars; count: units on which the variable is not zero';
comment on column figures.universe is 'Filed returns, itemizing returns or residents';
comment on column figures.geography is 'US, two-digit FIPS code as text, or OA for other areas';
comment on column figures.filters is 'Who is counted, as canonical text: clauses joined by &; empty for all';
comment on column figures."value" is 'The published total in units, never in thousands';
comment on column figures.unit is 'Unit of value: dollars, returns, persons or households';
comment on column figures.standard_error is 'Sampling error of value, in its unit; null where none is published';
comment on column figures.period is 'Exactly when: tax year, calendar year, fiscal year, month or day';
comment on column figures.publisher is 'Agency that printed the figure';
comment on column figures.published_table is 'Publication and table in which it is printed';
comment on column figures.note is 'Warnings about the figure; empty for none';
comment on column figures."role" is 'The role that the file asks for, with the note as its reason; null where the rules decide';
comment on column figures.aged_from is 'Year that the figure was printed for, where growth brought it to this year; else null';
comment on column figures.file is 'File or table in which the figure was read';
comment on column figures.line is 'Line of the file, or row of the table';
