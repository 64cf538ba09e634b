-- Grain: one row per target of a conflict.
create table if not exists target_conflicts (
    "year" bigint not null,
    conflict_id bigint not null check (conflict_id >= 0),
    target_id varchar not null check (target_id <> ''),
    "value" double not null check (isfinite("value")),
    unit varchar not null check (unit in ('dollars', 'returns', 'persons', 'households')),
    multiplier double not null check (isfinite(multiplier)),
    gap double not null check (gap >= 0 and isfinite(gap)),
    least_error double not null check (least_error >= 0 and isfinite(least_error)),
    max_weight_ratio double check (max_weight_ratio > 0 and isfinite(max_weight_ratio)),
    areas varchar not null,
    primary key ("year", conflict_id, target_id)
);

comment on table target_conflicts is 'Sets of targets that no admissible weights bring near their values together';
comment on column target_conflicts."year" is 'Year that the figure is about';
comment on column target_conflicts.conflict_id is 'The conflict, numbered in the year';
comment on column target_conflicts.target_id is 'The figure''s identifier: figures.figure_id';
comment on column target_conflicts."value" is 'The published total in units, never in thousands';
comment on column target_conflicts.unit is 'Unit of value: dollars, returns, persons or households';
comment on column target_conflicts.multiplier is 'The target''s factor in the sum that proves the conflict';
comment on column target_conflicts.gap is 'Units by which this target misses at least when the others of the conflict are met exactly';
comment on column target_conflicts.least_error is 'No admissible weights bring all targets of the conflict nearer than this share of their scales';
comment on column target_conflicts.max_weight_ratio is 'Largest weight ratio that was admitted; null for no bound';
comment on column target_conflicts.areas is 'Areas whose households the conflict is about, joined by comma and space';
