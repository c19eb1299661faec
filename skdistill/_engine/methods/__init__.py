"""The methods: what the outer loop moves synthetic samples down. One file each."""
