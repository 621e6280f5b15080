"""The plan, the stream and the proof: partition tables, extents, chunks, digests, verification."""
