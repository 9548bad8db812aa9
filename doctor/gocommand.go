package doctor

// goChecks look at the variables of the go command.
func goChecks(o Options) []Check {
	return nil
}
