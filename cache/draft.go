package cache

import "io"

// Draft is an answer on its way in.
type Draft struct{ key Key }

func (d *Draft) ReadFrom(r io.Reader) (int64, error) { return 0, errProvisional }
func (d *Draft) Check() error                        { return errProvisional }
func (d *Draft) Key() Key                            { return d.key }
func (d *Draft) H1() string                          { return "" }
func (d *Draft) Judge(v Verdict)                     {}
func (d *Draft) Replace(body []byte)                 {}
func (d *Draft) Commit(m Meta) error                 { return errProvisional }
func (d *Draft) Quarantine(reason string) error      { return errProvisional }
func (d *Draft) Entry() (*Entry, error)              { return nil, errProvisional }
func (d *Draft) Discard()                            {}
