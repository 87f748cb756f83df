"""Deletes of many rows in transactions of bounded size."""

from kiai.storage.port import Command, Database, Transaction, Value


async def delete_in_batches(database: Database, command: Command, batch: int, **parameters: Value) -> int:
    """Run `command`, which deletes at most `batch` rows, until it finds fewer. Return the number of deleted rows."""

    async def body(tx: Transaction) -> int:
        return await tx.run(command, **parameters)

    deleted = 0
    while True:
        # One transaction for each batch: other writes wait for at most one batch, not for the whole delete.
        found = await database.transaction(body)
        deleted += found
        if found < batch:
            return deleted
