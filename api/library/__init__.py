"""The family media library: the face that iSyncServer's clients use."""
