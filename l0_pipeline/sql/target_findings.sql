-- Grain: one row per finding about the figures of a year.
create table if not exists target_findings (
    "year" bigint not null,
    finding_id varchar not null check (finding_id <> ''),
    kind varchar not null check (kind <> ''),
    severity varchar not null check (severity in ('error', 'warning', 'note')),
    figure_id varchar not null,
    file varchar not null,
    line bigint check (line >= 1),
    related varchar not null,
    "value" double check (isfinite("value")),
    expected double check (isfinite(expected)),
    gap double check (isfinite(gap)),
    detail varchar not null check (detail <> ''),
    primary key ("year", finding_id)
);

comment on table target_findings is 'What does not fit together among the published figures';
comment on column target_findings."year" is 'Year that the figure is about';
comment on column target_findings.finding_id is 'The finding, unique in the year';
comment on column target_findings.kind is 'What is wrong, as a name';
comment on column target_findings.severity is 'error: the figure cannot be right; warning: look at it; note: known and harmless';
comment on column target_findings.figure_id is 'The figure that the finding is about; empty where it is about a whole table';
comment on column target_findings.file is 'File in which the figure was read';
comment on column target_findings.line is 'Line of the file, or row of the table; null where it is about no single row';
comment on column target_findings.related is 'Identifiers of the figures it does not fit, joined by comma and space; may be empty';
comment on column target_findings."value" is 'The figure''s value, in its unit; null where the finding is about no number';
comment on column target_findings.expected is 'What the related figures make it; null where unknown';
comment on column target_findings.gap is 'value - expected; null where unknown';
comment on column target_findings.detail is 'The finding in a sentence, with the next move';
