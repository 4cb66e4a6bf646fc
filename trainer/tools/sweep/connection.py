"""The way to the database of a sweep: SQLite in a file, or a server that many machines reach."""

import random
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainer.errors import UserError

if TYPE_CHECKING:
    from optuna.storages import RDBStorage

LOCKED = 120  # seconds that a process waits for others to be done with an SQLite file
DRIVERS = {"psycopg": "'psycopg[binary]'", "psycopg2": "psycopg2-binary", "MySQLdb": "mysqlclient"}  # module: package
TRIES = 10  # to make the tables, where several processes make them at once


def url_of_file(path: Path) -> str:
    """The URL of an SQLite file, whatever characters are in its name."""
    import sqlalchemy

    return sqlalchemy.URL.create("sqlite", database=str(path)).render_as_string()


def connect(url: str, heartbeat: int, grace: int, create: bool) -> "RDBStorage":
    """Optuna's storage at the URL, its tables made if asked. Raises UserError if it cannot be reached."""
    import sqlalchemy
    from optuna.exceptions import StorageInternalError
    from optuna.storages import RDBStorage

    options = engine_options(url)
    reach(url, options)
    for attempt in range(TRIES):
        try:
            storage = RDBStorage(
                url, options, heartbeat_interval=heartbeat, grace_period=grace, skip_table_creation=not create
            )
            break
        except (sqlalchemy.exc.SQLAlchemyError, StorageInternalError) as error:
            if attempt == TRIES - 1:
                raise refused(url, error) from None
            time.sleep(random.uniform(0.1, 0.5))  # another process is making the tables
        except RuntimeError as error:  # tables of another version of Optuna
            raise refused(url, error) from None
    if storage.engine.dialect.name == "sqlite":
        one_writer_at_a_time(storage.engine)
    return storage


def engine_options(url: str) -> dict[str, Any]:
    """How SQLAlchemy is to keep its connections: tried before use, and patient with a locked file."""
    patience = {"timeout": LOCKED} if url.startswith("sqlite") else {}
    return {"pool_pre_ping": True, "connect_args": patience}


def reach(url: str, options: dict[str, Any]) -> None:
    """Connect once. Raises UserError in one line for a wrong URL, a missing driver, a server that does not answer."""
    import sqlalchemy

    try:
        engine = sqlalchemy.create_engine(url, **options)
        engine.connect().close()
        engine.dispose()
    except ImportError as error:
        package = DRIVERS.get(error.name or "", error.name)
        raise UserError(f"the driver of this database is missing, {shown(url)}; pip install {package}") from None
    except sqlalchemy.exc.SQLAlchemyError as error:
        raise refused(url, error) from None


def refused(url: str, error: Exception) -> UserError:
    why = str(error.__cause__ or error).strip().splitlines()[0]
    return UserError(f"cannot reach the store ({why}), {shown(url)}; give --storage a database that answers")


def shown(url: str) -> str:
    """The URL without its password."""
    import sqlalchemy

    try:
        return sqlalchemy.make_url(url).render_as_string(hide_password=True)
    except sqlalchemy.exc.ArgumentError:
        return repr(url)


def one_writer_at_a_time(engine: Any) -> None:
    """Let each transaction lock the SQLite file from its beginning.

    Optuna reads the state of a trial before it changes it. Other databases lock the row meanwhile; SQLite does not,
    and two processes could take the same trial.
    """
    from sqlalchemy import event

    def leave_transactions_to_us(connection: Any, record: Any) -> None:
        connection.isolation_level = None

    def lock(connection: Any) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    event.listen(engine, "connect", leave_transactions_to_us)
    event.listen(engine, "begin", lock)
    engine.dispose()  # connections that were opened without
