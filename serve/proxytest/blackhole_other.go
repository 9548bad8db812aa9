//go:build !unix

package proxytest

import "errors"

func BlackHole() (addr string, closeHole func(), err error) {
	return "", nil, errors.New("black-hole works on unix only")
}
