-- The keys of clients. The secret itself is not stored, only the SHA-256 of its 256 random bits.

CREATE TABLE api_keys (
    key_id     TEXT    NOT NULL,
    digest     BLOB    NOT NULL,
    merchant   TEXT    NOT NULL,
    scopes     TEXT    NOT NULL,
    label      TEXT    NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER,
    revoked_at INTEGER,
    CONSTRAINT api_keys_pk PRIMARY KEY (key_id),
    CONSTRAINT api_keys_digest_is_sha256 CHECK (length(digest) = 32),
    -- The streams of that name are the gateways', and no merchant's.
    CONSTRAINT api_keys_merchant_is_none_of_ours CHECK (merchant NOT IN ('', 'gateways')),
    CONSTRAINT api_keys_permit_something CHECK (scopes <> '')
) STRICT, WITHOUT ROWID;
