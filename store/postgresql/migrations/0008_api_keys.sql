-- The keys of clients. The secret itself is not stored, only the SHA-256 of its 256 random bits.

CREATE TABLE api_keys (
    key_id     text        NOT NULL,
    digest     bytea       NOT NULL,
    merchant   text        NOT NULL,
    scopes     text        NOT NULL,
    label      text        NOT NULL,
    created_at timestamptz NOT NULL,
    expires_at timestamptz,
    revoked_at timestamptz,
    CONSTRAINT api_keys_pk PRIMARY KEY (key_id),
    CONSTRAINT api_keys_digest_is_sha256 CHECK (length(digest) = 32),
    -- The streams of that name belong to the gateways, and to no merchant.
    CONSTRAINT api_keys_merchant_is_none_of_ours CHECK (merchant NOT IN ('', 'gateways')),
    CONSTRAINT api_keys_permit_something CHECK (scopes <> '')
);
