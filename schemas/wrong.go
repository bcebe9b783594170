package schemas

// Wrong is an error as what is wrong with a field; nothing if there is none.
func Wrong(field string, err error) []Violation {
	if err == nil {
		return nil
	}
	return []Violation{{Field: field, Message: err.Error()}}
}
