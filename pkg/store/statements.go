package store

import (
	"context"
	"database/sql"
	"sync"
)

// statements keeps what was prepared in a pool of connections: parsing a
// statement takes longer than most of them run, and over a network it is a round
// trip of its own.
type statements struct {
	db *sql.DB

	mu   sync.Mutex
	held map[string]*sql.Stmt
}

// statementsMost bounds them. There are few texts but for lists of several
// lengths.
const statementsMost = 128

// of prepares a text, or finds it prepared; nil says to send it as it is.
func (s *statements) of(ctx context.Context, query string) (*sql.Stmt, error) {
	s.mu.Lock()
	found, full := s.held[query], len(s.held) >= statementsMost
	s.mu.Unlock()
	if found != nil || full {
		return found, nil
	}
	fresh, err := s.db.PrepareContext(ctx, query)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if other := s.held[query]; other != nil {
		_ = fresh.Close() // somebody was faster
		return other, nil
	}
	s.held[query] = fresh
	return fresh, nil
}

// preparing runs queries in a transaction, or in the pool when there is none,
// by prepared statements.
type preparing struct {
	kept *statements
	tx   *sql.Tx
	// missed are texts of the transaction that are not prepared yet.
	missed *[]string
}

// prepareMissed prepares for the transactions to come.
func (p preparing) prepareMissed(ctx context.Context) {
	for _, query := range *p.missed {
		if _, err := p.kept.of(ctx, query); err != nil {
			return // whoever needs it next says what is wrong
		}
	}
}

func (p preparing) ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error) {
	stmt, err := p.statement(ctx, query, len(args))
	switch {
	case err != nil:
		return nil, err
	case stmt != nil:
		return stmt.ExecContext(ctx, args...)
	case p.tx != nil:
		return p.tx.ExecContext(ctx, query, args...)
	}
	return p.kept.db.ExecContext(ctx, query, args...)
}

func (p preparing) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	stmt, err := p.statement(ctx, query, len(args))
	switch {
	case err != nil:
		return nil, err
	case stmt != nil:
		return stmt.QueryContext(ctx, args...)
	case p.tx != nil:
		return p.tx.QueryContext(ctx, query, args...)
	}
	return p.kept.db.QueryContext(ctx, query, args...)
}

// statement is nil for a text without arguments, which costs no more as it is.
func (p preparing) statement(ctx context.Context, query string, args int) (*sql.Stmt, error) {
	if args == 0 {
		return nil, nil
	}
	if p.tx == nil {
		return p.kept.of(ctx, query)
	}
	return p.inTx(ctx, query)
}

// inTx never takes a second connection: a pool whose connections all wait for
// one more would wait for ever. What is missed is prepared after the end.
func (p preparing) inTx(ctx context.Context, query string) (*sql.Stmt, error) {
	p.kept.mu.Lock()
	found := p.kept.held[query]
	p.kept.mu.Unlock()
	if found == nil {
		*p.missed = append(*p.missed, query)
		return nil, nil
	}
	return p.tx.StmtContext(ctx, found), nil
}
