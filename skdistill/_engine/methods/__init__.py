"""The methods: the losses and gradients that the outer loop follows. One file each."""
