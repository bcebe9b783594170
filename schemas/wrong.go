package schemas

// Wrong converts an error to a violation of a field; nil if err is nil.
func Wrong(field string, err error) []Violation {
	if err == nil {
		return nil
	}
	return []Violation{{Field: field, Message: err.Error()}}
}
