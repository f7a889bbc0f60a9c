"""questd: a self-hosted message-queue server that speaks the Amazon SQS protocol on top of Redis."""
