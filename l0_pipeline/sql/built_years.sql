-- Grain: one row per table and year.
create table if not exists built_years (
    "year" bigint not null,
    table_name varchar not null check (table_name <> ''),
    primary key ("year", table_name)
);

comment on table built_years is 'Which years each table was stored for, also those in which nothing was found';
comment on column built_years."year" is 'Year that was stored';
comment on column built_years.table_name is 'Table of the warehouse';
