"""What our marks are called: by those who write them, and by the audit that looks for them (R3)."""

KEY = "mmtt"  # keyword of the PNG text chunk
OURS = (b"tEXt", b"caBX")  # PNG chunks that a mark adds: the text, and the content credentials
RECORD = "org.mmtt.record"  # label of the assertion that says which record a picture is
