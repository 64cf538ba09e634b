-- Grain: one row, put in when the file's tables are made.
create table if not exists warehouse_version (
    "number" bigint not null check ("number" >= 1),
    primary key ("number")
);

comment on table warehouse_version is 'Which version of these tables the file holds';
comment on column warehouse_version."number" is 'Raised by one whenever a table changes so that earlier rows do not fit';
