package credential

import (
	"fmt"
	"io"
)

// plain is the content of the file of --insecure-storage: tokens by place.
type plain map[string]string

func (s *Store) putPlain(place Place, secret Secret) error {
	tokens, err := s.loadPlain()
	if err != nil {
		return err
	}
	tokens[place.String()] = secret.Reveal()
	return s.save(plainFile, tokens)
}

func (s *Store) getPlain(place Place) (Secret, error) {
	tokens, err := s.loadPlain()
	if err != nil {
		return Secret{}, err
	}
	secret := NewSecret(tokens[place.String()])
	if secret.Empty() {
		return Secret{}, none(place)
	}
	if err := secret.check(); err != nil {
		return Secret{}, &hinted{fmt.Errorf("read the token of %s from %s: that is no token: %w", place, plainFile, err), place.login()}
	}
	return secret, nil
}

// removePlain leaves no file without a token.
func (s *Store) removePlain(place Place) error {
	tokens, err := s.loadPlain()
	if err != nil {
		return err
	}
	if _, ok := tokens[place.String()]; !ok {
		return nil
	}
	delete(tokens, place.String())
	return s.save(plainFile, tokens)
}

func (s *Store) loadPlain() (plain, error) {
	tokens := plain{}
	err := s.load(plainFile, &tokens)
	return tokens, err
}

// readOwn reads a file that nobody else can read or have put there.
func readOwn(path string) ([]byte, error) {
	file, err := openOwn(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	content, err := io.ReadAll(io.LimitReader(file, maxFile+1))
	if err == nil && len(content) > maxFile {
		err = fmt.Errorf("larger than %d bytes", maxFile)
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	return content, nil
}
