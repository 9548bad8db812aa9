package credential

import (
	"context"
	"time"
)

// SetExpiry notes when the token that is stored for a place ends. Hosts tell that with
// each answer to a good token, and no more once it has ended: then the note is what
// tells an expired token from a wrong one.
func (s *Store) SetExpiry(ctx context.Context, place Place, at time.Time) error {
	place, err := place.clean()
	if err != nil {
		return err
	}
	unlock, err := s.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	entry, err := s.entry(place)
	if err != nil || entry.Expires.Equal(at) {
		return err
	}
	entry.Expires = at.UTC()
	return s.record(entry)
}

// Expiry returns what is noted about a token; zero means nothing is.
func (s *Store) Expiry(t Token) time.Time {
	if t.Source == envSource {
		return time.Time{}
	}
	entry, err := s.entry(t.Place)
	if err != nil {
		return time.Time{}
	}
	return entry.Expires
}
