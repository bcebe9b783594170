package httpsend

import (
	"google.golang.org/protobuf/encoding/protowire"

	"gatewayd/protocols/uplink"
)

// partialProtobuf reads an ExportMetricsServiceResponse: field 1 is partial_success, with 1
// rejected_data_points and 2 error_message. Unreadable content is ignored.
func partialProtobuf(b []byte) error {
	for len(b) > 0 {
		n, typ, k := protowire.ConsumeTag(b)
		if k < 0 {
			return nil
		}
		b = b[k:]
		if n == 1 && typ == protowire.BytesType {
			m, k := protowire.ConsumeBytes(b)
			if k < 0 {
				return nil
			}
			return partialMessage(m)
		}
		if k = protowire.ConsumeFieldValue(n, typ, b); k < 0 {
			return nil
		}
		b = b[k:]
	}
	return nil
}

func partialMessage(b []byte) error {
	rejected, why := uint64(0), ""
	for len(b) > 0 {
		n, typ, k := protowire.ConsumeTag(b)
		if k < 0 {
			return nil
		}
		b = b[k:]
		switch {
		case n == 1 && typ == protowire.VarintType:
			rejected, k = protowire.ConsumeVarint(b)
		case n == 2 && typ == protowire.BytesType:
			why, k = protowire.ConsumeString(b)
		default:
			k = protowire.ConsumeFieldValue(n, typ, b)
		}
		if k < 0 {
			return nil
		}
		b = b[k:]
	}
	if int64(rejected) > 0 {
		return &uplink.RejectedError{Why: why}
	}
	return nil
}
