// Package checkup looks at accounts and at an installation as an operator
// would before trusting them: what can be reached, by whom, what may be watched,
// and for everything that is wrong what to do about it. It changes nothing.
package checkup
