"""The card of a binding: the file that makes a folder one, read by gateway and worker."""

CARD = "binding_card.yaml"
MAX_CARD_BYTES = 64_000
PERMISSIONS = ("network", "reads", "writes")
"""What a card may ask for beyond what every worker has. The operator allows it, or not."""
