-- The log that several daemons share. What is here decides what happened; each daemon's directory is a replica of it.

CREATE TABLE mreg.log_head (
    is_head     boolean     PRIMARY KEY DEFAULT true CHECK (is_head),
    size        bigint      NOT NULL CHECK (size >= 0),
    root        bytea       NOT NULL CHECK (octet_length(root) = 32),
    -- Where the log went on, once it was taken out of this database: then nothing is committed here any more.
    moved       text
) WITH (fillfactor = 10);

INSERT INTO mreg.log_head (size, root) VALUES (0, sha256(''));

CREATE TABLE mreg.log_entry (
    seq         bigint      PRIMARY KEY,
    leaf        bytea       NOT NULL,
    change      bytea       NOT NULL
);

-- Leaves are salted, changes are small: nothing is gained by compressing either.
ALTER TABLE mreg.log_entry ALTER COLUMN leaf SET STORAGE EXTERNAL, ALTER COLUMN change SET STORAGE EXTERNAL;

-- A seat belt against a slip at a prompt, and no protection against whoever owns the table: that is what verifying is for.
CREATE FUNCTION mreg.refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'entries of the log are never changed or removed';
END $$;

CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON mreg.log_entry
    FOR EACH STATEMENT EXECUTE FUNCTION mreg.refuse_change();

CREATE TABLE mreg.daemon (
    node        text        PRIMARY KEY,
    size        bigint      NOT NULL,
    version     text        NOT NULL,
    -- Public halves of the keys in its key directory: no key may sign before every daemon has it.
    keys        text[]      NOT NULL,
    seen        timestamptz NOT NULL
);
