// Package index holds what the clusters contain, exactly and compactly, and
// answers from memory which objects make up an application.
//
// Every object is one Object in the table of its kind, so that membership never depends
// on a cache. State is kept per account under one lock with short critical
// sections; readers take a snapshot of immutable objects and do their work
// outside. An event costs its object and its relations, a read costs its
// application.
//
// Each change gives the applications that it may show in a new version, so
// that whatever was rendered from a snapshot can be reused until then.
package index
