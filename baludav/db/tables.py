"""Every table of the index database, in one place.

Times are microseconds since the epoch in UTC unless a name ends in `_ns` (nanoseconds) or `_at` is said to be
seconds. Identifiers are never used again (AUTOINCREMENT), since entity ids outlive their rows at the clients.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    and_,
    literal_column,
)

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)

# SQLite gives 64-bit row ids to INTEGER only.
Id = BigInteger().with_variant(Integer, "sqlite")

meta = Table(  # instance: random id of this database; epoch: changes when an index is rebuilt from nothing
    "meta",
    metadata,
    Column("key", String(64), primary_key=True),
    Column("value", Text, nullable=False),
)

users = Table(
    "users",
    metadata,
    Column("id", Id, primary_key=True),
    Column("name", String(255), nullable=False, unique=True),
    Column("password_hash", Text, nullable=False),
    Column("is_admin", Boolean, nullable=False, default=False),
    Column("is_disabled", Boolean, nullable=False, default=False),
    Column("quota", BigInteger),  # bytes; NULL: no limit
    Column("revision", Integer, nullable=False, default=0),  # rises with each change to the account
    Column("created_at", Float, nullable=False),  # seconds
    sqlite_autoincrement=True,
)

memberships = Table(
    "memberships",
    metadata,
    Column("user_id", Id, ForeignKey("users.id", ondelete="CASCADE"), primary_key=True),
    Column("group_name", String(255), primary_key=True),
)

app_passwords = Table(
    "app_passwords",
    metadata,
    Column("id", Id, primary_key=True),
    Column("user_id", Id, ForeignKey("users.id", ondelete="CASCADE"), nullable=False),
    Column("label", String(255), nullable=False),
    Column("secret_hash", String(64), nullable=False, unique=True),  # SHA-256 of 160 random bits
    Column("created_at", Float, nullable=False),  # seconds
    Column("last_used_at", Float),  # seconds; NULL: not yet, or before this was noted
    UniqueConstraint("user_id", "label"),
    sqlite_autoincrement=True,
)

sign_in_failures = Table(  # shared by the workers; a row for each address and each (account, address)
    "sign_in_failures",
    metadata,
    Column("key", String(255), primary_key=True),
    Column("failures", Integer, nullable=False),
    Column("last_at", Float, nullable=False),  # seconds
)

logins = Table(  # programs that wait until their user grants them access in a browser
    "logins",
    metadata,
    Column("id", Id, primary_key=True),
    Column("program_hash", String(64), nullable=False, unique=True),  # SHA-256 of 256 random bits, as the other
    Column("page_hash", String(64), nullable=False, unique=True),
    Column("client", String(255), nullable=False),  # what the program calls itself
    Column("address", String(64), nullable=False),  # that it asked from, as failures are counted under
    Column("begun_at", Float, nullable=False),  # seconds
    Column("user_id", Id, ForeignKey("users.id", ondelete="CASCADE")),  # who granted it; NULL: nobody yet
    Column("revision", Integer),  # of the account at that time
    sqlite_autoincrement=True,
)

storage_roots = Table(  # a folder on the disk that holds a home or a share
    "storage_roots",
    metadata,
    Column("id", Id, primary_key=True),
    Column("kind", String(8), nullable=False),  # home, share
    Column("name", String(255), nullable=False),  # of the user or the share
    Column("marker", String(64), nullable=False),  # content of the marker file that proves it is mounted
    Column("used", BigInteger, nullable=False, default=0),  # bytes of all its files
    UniqueConstraint("kind", "name"),
    sqlite_autoincrement=True,
)

resources = Table(
    "resources",
    metadata,
    Column("id", Id, primary_key=True),
    Column("root_id", Id, ForeignKey("storage_roots.id", ondelete="CASCADE"), nullable=False),
    Column("parent_id", Id, ForeignKey("resources.id")),  # NULL: the root collection
    Column("name", Text, nullable=False),  # as on the disk
    Column("is_collection", Boolean, nullable=False),
    Column("size", BigInteger, nullable=False, default=0),  # bytes
    Column("sha256", String(64)),  # lower-case hex; NULL: not known yet, or a collection
    # The stat signature under which sha256 was taken; `born_ns` tells a new file on a reused inode.
    Column("device", BigInteger, nullable=False, default=0),
    Column("inode", BigInteger, nullable=False, default=0),
    Column("mtime_ns", BigInteger, nullable=False, default=0),
    Column("ctime_ns", BigInteger, nullable=False, default=0),
    Column("born_ns", BigInteger, nullable=False, default=0),
    Column("is_settled", Boolean, nullable=False, default=False),  # False: racily clean, hash it again
    Column("created_ns", BigInteger, nullable=False, default=0),  # DAV:creationdate
    Column("changed", BigInteger, nullable=False, default=0),  # number of the last change at or below it
    UniqueConstraint("parent_id", "name"),
    sqlite_autoincrement=True,
)
# By size, bytes are found by their hash nearly as fast as by an index of it, which would cost every write far more.
Index("ix_resources_root", resources.c.root_id, resources.c.size)
_is_top = and_(resources.c.parent_id.is_(None), resources.c.name == literal_column("''"))
Index(  # one root collection for each storage root; found at once however many there are
    "uq_resources_top", resources.c.root_id, unique=True, sqlite_where=_is_top, postgresql_where=_is_top
)
Index("ix_resources_inode", resources.c.device, resources.c.inode)

journal = Table(  # one row for each change; `number` is taken in the transaction that commits the change
    "journal",
    metadata,
    Column("number", Id, primary_key=True),
    Column("root_id", Id, ForeignKey("storage_roots.id", ondelete="CASCADE"), nullable=False),
    Column("resource_id", Id, nullable=False),
    Column("path", Text, nullable=False),  # names joined with "/", below the storage root
    Column("action", String(8), nullable=False),  # created, modified, deleted
    Column("is_collection", Boolean, nullable=False),
    Column("size", BigInteger, nullable=False, default=0),
    Column("sha256", String(64)),
    Column("moved_from", Text),
    Column("device_id", Id),  # NULL: no device, or made outside
    Column("at_ns", BigInteger, nullable=False),
    sqlite_autoincrement=True,
)
Index("ix_journal_root", journal.c.root_id, journal.c.number)

locks = Table(
    "locks",
    metadata,
    Column("token", String(64), primary_key=True),  # a URI
    Column("root_id", Id, ForeignKey("storage_roots.id", ondelete="CASCADE"), nullable=False),
    Column("resource_id", Id, ForeignKey("resources.id", ondelete="CASCADE"), nullable=False),
    Column("user_id", Id, ForeignKey("users.id", ondelete="CASCADE"), nullable=False),
    Column("is_exclusive", Boolean, nullable=False),
    Column("is_infinite", Boolean, nullable=False),  # Depth: infinity
    Column("owner_xml", Text, nullable=False),
    Column("timeout", Integer, nullable=False),  # seconds granted
    Column("created_at", Float, nullable=False),  # seconds
    Column("expires_at", Float, nullable=False),  # seconds
    Column("client", String(200), nullable=False),  # User-Agent
)
Index("ix_locks_root", locks.c.root_id, locks.c.expires_at)
Index("ix_locks_resource", locks.c.resource_id)
Index("ix_locks_user", locks.c.user_id, locks.c.expires_at)

properties = Table(  # dead properties (RFC 4918 §4)
    "properties",
    metadata,
    Column("resource_id", Id, ForeignKey("resources.id", ondelete="CASCADE"), primary_key=True),
    Column("name", String(1024), primary_key=True),  # Clark notation
    Column("value", LargeBinary, nullable=False),  # the serialised element
)

devices = Table(  # a client that syncs, with a token of its own
    "devices",
    metadata,
    Column("id", Id, primary_key=True),
    Column("public_id", String(32), nullable=False, unique=True),
    Column("user_id", Id, ForeignKey("users.id", ondelete="CASCADE"), nullable=False),
    Column("name", String(255), nullable=False),
    Column("device_type", String(16), nullable=False),
    Column("token_hash", String(64), nullable=False, unique=True),  # SHA-256 of 160 random bits
    Column("created_at", Float, nullable=False),  # seconds
    Column("last_seen_at", Float, nullable=False),  # seconds
    Column("change_token", String(255), nullable=False),  # up to where the device has applied all changes
    sqlite_autoincrement=True,
)
Index("ix_devices_user", devices.c.user_id)

versions = Table(  # bytes that were overwritten; they hang on the resource
    "versions",
    metadata,
    Column("id", Id, primary_key=True),
    Column("root_id", Id, ForeignKey("storage_roots.id", ondelete="CASCADE"), nullable=False),
    Column("resource_id", Id, nullable=False),
    Column("kept", Text, nullable=False),  # where the bytes lie: names joined with "/", below the storage root
    Column("size", BigInteger, nullable=False),  # bytes
    Column("sha256", String(64)),
    Column("mtime_ns", BigInteger, nullable=False),
    Column("kept_ns", BigInteger, nullable=False),  # when they were replaced
    Column("device_id", Id),  # that had written them
    Column("reason", String(16), nullable=False),  # overwritten, restored, lost
    sqlite_autoincrement=True,
)
Index("ix_versions_resource", versions.c.resource_id)
Index("ix_versions_root", versions.c.root_id, versions.c.kept_ns)
Index("ix_versions_size", versions.c.root_id, versions.c.size)

trash = Table(  # what was deleted: its row and those below it stay in `resources`, without a parent
    "trash",
    metadata,
    Column("resource_id", Id, ForeignKey("resources.id", ondelete="CASCADE"), primary_key=True),
    Column("root_id", Id, ForeignKey("storage_roots.id", ondelete="CASCADE"), nullable=False),
    Column("path", Text, nullable=False),  # where it was: names joined with "/", below the storage root
    Column("kept", Text, nullable=False),
    Column("size", BigInteger, nullable=False),  # bytes of all its files
    Column("deleted_ns", BigInteger, nullable=False),
    Column("device_id", Id),  # that deleted it
)
Index("ix_trash_root", trash.c.root_id, trash.c.deleted_ns)
Index("ix_trash_path", trash.c.root_id, trash.c.path)

checksums = Table(  # other hashes of the bytes that have a SHA-256, for clients that compare by them
    "checksums",
    metadata,
    Column("root_id", Id, ForeignKey("storage_roots.id", ondelete="CASCADE"), primary_key=True),
    Column("sha256", String(64), primary_key=True),
    Column("sha1", String(40)),
    Column("md5", String(32)),
    sqlite_with_rowid=False,
)

uploads = Table(  # files that come in parts
    "uploads",
    metadata,
    Column("id", Id, primary_key=True),
    Column("user_id", Id, ForeignKey("users.id", ondelete="CASCADE"), nullable=False),
    Column("name", Text, nullable=False),  # the client's own
    Column("root_id", Id, ForeignKey("storage_roots.id", ondelete="CASCADE"), nullable=False),
    Column("begun", Text, nullable=False),  # where the bytes lie: names joined with "/", below the storage root
    Column("length", BigInteger),  # announced, in bytes
    Column("revision", Integer, nullable=False),  # rises with each part
    Column("touched_at", Float, nullable=False),  # seconds
    Column("path", Text),  # where it is to go, if that is known, or has gone; in the user's tree
    Column("sha256", String(64)),  # once finished
    Column("note", Text),  # what else was said at its beginning, for the room that is to end it
    UniqueConstraint("user_id", "name"),
    sqlite_autoincrement=True,
)

upload_parts = Table(
    "upload_parts",
    metadata,
    Column("upload_id", Id, ForeignKey("uploads.id", ondelete="CASCADE"), primary_key=True),
    Column("name", Text, primary_key=True),
    Column("offset", BigInteger, nullable=False),  # in the file of the upload
    Column("size", BigInteger, nullable=False),  # bytes
)

conflicts = Table(  # what a device and the server both changed
    "conflicts",
    metadata,
    Column("id", Id, primary_key=True),
    Column("public_id", String(32), nullable=False, unique=True),
    Column("user_id", Id, ForeignKey("users.id", ondelete="CASCADE"), nullable=False),
    Column("device_id", Id, ForeignKey("devices.id", ondelete="CASCADE"), nullable=False),
    Column("path", Text, nullable=False),  # in the user's tree, names joined with "/"
    Column("kind", String(32), nullable=False),  # baludav.tree.records.conflicts.Kind
    Column("base_sha256", String(64)),
    Column("local_sha256", String(64)),
    Column("server_sha256", String(64)),
    Column("other", Text),  # path that some systems do not tell from this one
    Column("detected_at", Float, nullable=False),  # seconds
    Column("resolution", String(16)),  # NULL: open
    Column("resolved_at", Float),  # seconds
    sqlite_autoincrement=True,
)
Index("ix_conflicts_user", conflicts.c.user_id)
Index(  # one open conflict for each path of a device
    "uq_conflicts_open",
    conflicts.c.device_id,
    conflicts.c.path,
    unique=True,
    sqlite_where=conflicts.c.resolution.is_(None),
    postgresql_where=conflicts.c.resolution.is_(None),
)

audit = Table(  # what was done by whom; names, not ids, since it stays when they go
    "audit",
    metadata,
    Column("id", Id, primary_key=True),
    Column("kind", String(32), nullable=False),  # baludav.db.audit.Kind
    Column("user_name", String(255), nullable=False),  # whose account it is about; empty: nobody's
    Column("device", String(255), nullable=False),  # or label of an app password; empty: neither
    Column("address", String(64), nullable=False),  # of the client; empty: a command
    Column("client", String(255), nullable=False),  # User-Agent, or the command
    Column("path", Text, nullable=False),
    Column("detail", Text, nullable=False),
    Column("times", Integer, nullable=False),
    Column("first_at", Float, nullable=False),  # seconds
    Column("last_at", Float, nullable=False),  # seconds
    Column("gathered", String(64), unique=True),  # hash of what is counted in one row; NULL: happened once
    sqlite_autoincrement=True,
)
Index("ix_audit_last_at", audit.c.last_at)
