-- Grain: one row per release.
create table if not exists builds (
    "year" bigint not null,
    release_id varchar not null check (release_id <> ''),
    built_at timestamp not null,
    households bigint not null check (households >= 0),
    fitted bigint not null check (fitted >= 0),
    held_out bigint not null check (held_out >= 0),
    benchmark bigint not null check (benchmark >= 0),
    rejected bigint not null check (rejected >= 0),
    fitted_median_error double check (fitted_median_error >= 0 and isfinite(fitted_median_error)),
    held_out_median_error double check (held_out_median_error >= 0 and isfinite(held_out_median_error)),
    share_within_10pct double not null check (share_within_10pct between 0 and 1),
    effective_sample_size double not null check (effective_sample_size >= 0 and isfinite(effective_sample_size)),
    largest_weight_ratio double not null check (largest_weight_ratio >= 0 and isfinite(largest_weight_ratio)),
    code_version varchar not null check (code_version <> ''),
    primary key ("year", release_id)
);

comment on table builds is 'Every release that was built, with its size and quality';
comment on column builds."year" is 'Year that the release is about';
comment on column builds.release_id is 'The release''s folder below data/releases';
comment on column builds.built_at is 'When it was built, in UTC';
comment on column builds.households is 'Households of the release';
comment on column builds.fitted is 'Targets fitted';
comment on column builds.held_out is 'Targets held out';
comment on column builds.benchmark is 'Targets compared only';
comment on column builds.rejected is 'Targets rejected';
comment on column builds.fitted_median_error is 'Median absolute error of the fitted targets; null where there are none';
comment on column builds.held_out_median_error is 'Median absolute error of the held-out targets; null where there are none';
comment on column builds.share_within_10pct is 'Share of the fitted targets within 10 % of their value';
comment on column builds.effective_sample_size is 'Equally weighted households that would be as precise';
comment on column builds.largest_weight_ratio is 'Largest calibrated over scaled design weight';
comment on column builds.code_version is 'Version of the code that built it';
