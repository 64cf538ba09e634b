-- Grain: one row per compared target and release.
create table if not exists target_fit_history (
    "year" bigint not null,
    release_id varchar not null check (release_id <> ''),
    target_id varchar not null check (target_id <> ''),
    "role" varchar not null check ("role" in ('fitted', 'held_out', 'benchmark', 'rejected')),
    "value" double not null check (isfinite("value")),
    released_estimate double not null check (isfinite(released_estimate)),
    released_error double not null check (isfinite(released_error)),
    primary key ("year", release_id, target_id)
);

comment on table target_fit_history is 'The released error of every target in every release';
comment on column target_fit_history."year" is 'Year that the figure is about';
comment on column target_fit_history.release_id is 'The release''s folder below data/releases';
comment on column target_fit_history.target_id is 'The figure''s identifier: figures.figure_id';
comment on column target_fit_history."role" is 'The target''s role in that release';
comment on column target_fit_history."value" is 'The published total that the release was compared with';
comment on column target_fit_history.released_estimate is 'Estimate under the released weights';
comment on column target_fit_history.released_error is '(estimate - value) / scale under the released weights, signed';
