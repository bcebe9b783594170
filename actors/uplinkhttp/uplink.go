// Package uplinkhttp is the actor kind that sends records by HTTP: a batch is one request, and a
// 2xx status acknowledges it.
package uplinkhttp

import (
	"net/url"

	"gatewayd/actors"
	"gatewayd/actors/uplink"
	"gatewayd/protocols/httpsend"
	"gatewayd/protocols/record"
	"gatewayd/protocols/shape"
	"gatewayd/protocols/tlsfiles"
	uplinkv1 "gatewayd/schemas/uplink/v1"
)

// Kind is the actor kind uplink-http.
var Kind = uplink.Define(actors.Kind{
	Name: "uplink-http",
	Doc:  "Sends tracks to a web service: JSON, webhooks, InfluxDB's line protocol, OpenTelemetry metrics.",
}, reach)

func reach(who uplink.Instance, cfg *uplinkv1.UplinkHttp) (uplink.Far, error) {
	encode, typ, err := encoder(who, cfg)
	if err != nil {
		return uplink.Far{}, err
	}
	u, err := url.Parse(cfg.Url)
	if err != nil {
		return uplink.Far{}, err
	}
	to := httpsend.Config{
		URL: cfg.Url, Method: cfg.Method, Compress: cfg.Compress, Token: cfg.Token, TokenFile: cfg.TokenFile, Username: cfg.Username, Password: cfg.Password,
		TLS: tlsfiles.ClientOf(cfg.Tls), ContentType: typ, Encode: encode, OTLP: cfg.Shape == "otlp-json" || cfg.Shape == "otlp-protobuf",
		NoPage: cfg.Shape == "influx" || cfg.Shape == "otlp-json" || cfg.Shape == "otlp-protobuf",
	}
	for _, h := range cfg.Headers {
		to.Headers = append(to.Headers, [2]string{h.Name, h.Value})
	}
	carries := map[string]func(record.Record) bool{"influx": shape.InfluxCarries, "otlp-json": shape.OTLPCarries, "otlp-protobuf": shape.OTLPCarries}
	return uplink.Far{Where: u.Scheme + "://" + u.Host + u.Path, Dial: to.Dial, Carries: carries[cfg.Shape]}, nil
}

// encoder returns the function that encodes a batch in the configured shape, and its media type.
func encoder(who uplink.Instance, cfg *uplinkv1.UplinkHttp) (encode func([]record.Record) []httpsend.Body, typ string, err error) {
	whole := func(make func(string, []record.Record) []byte) func([]record.Record) []httpsend.Body {
		return func(batch []record.Record) []httpsend.Body {
			all := httpsend.Body{Payload: make(who.Gateway, batch)}
			for i := range batch {
				all.Records = append(all.Records, i)
			}
			return []httpsend.Body{all}
		}
	}
	switch cfg.Shape {
	case "influx":
		return whole(shape.Influx), "text/plain; charset=utf-8", nil
	case "otlp-json":
		return whole(shape.OTLPJSON), "application/json", nil
	case "otlp-protobuf":
		return whole(shape.OTLPProtobuf), "application/x-protobuf", nil
	}
	form, err := uplink.Form(cfg.Shape, cfg.Custom, map[string]string{"json": "plain"})
	if err != nil {
		return nil, "", err
	}
	form.Topic, form.AnnounceTopic = "", ""
	maker, err := form.New(shape.Origin{Gateway: who.Gateway, Uplink: who.Path})
	if err != nil {
		return nil, "", err
	}
	return func(batch []record.Record) (all []httpsend.Body) {
		for _, m := range maker.Make("", batch) {
			all = append(all, httpsend.Body{Payload: m.Payload, Records: m.Records})
		}
		return all
	}, maker.ContentType, nil
}
