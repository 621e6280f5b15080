"""An MBR with a logical partition, and a GPT whose partition has an awkward name."""

from payload.model.disk import FileSystem, Partition, PartitionTable

MBR = PartitionTable(
    "dos",
    "0xfa110e55",
    (
        Partition(1, 63 * 512, 1000 * 512, "83", "fa110e55-01", bootable=True),
        Partition(2, 2000 * 512, 9000 * 512, "5"),
        Partition(5, 2063 * 512, 100 * 512, "82", file_system=FileSystem("swap")),
    ),
)
GPT = PartitionTable(
    "gpt",
    "4c1d64ca-2b41-4cfa-9a1f-3b5c3ddf7f11",
    (Partition(3, 1 << 20, 1 << 20, "0fc63daf", "aaaa", 'a "b" \\ ä', "RequiredPartition"),),
    first_lba=34,
    last_lba=9999,
    table_length=256,
)
