"""What the panes say of Linux under KVM, beside what the two kernels say of themselves."""
