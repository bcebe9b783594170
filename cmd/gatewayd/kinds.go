package main

import (
	"gatewayd/actors"
	"gatewayd/actors/accesscontrol"
	"gatewayd/actors/auditlog"
	"gatewayd/actors/claimdoor"
	"gatewayd/actors/config"
	"gatewayd/actors/drill"
	"gatewayd/actors/dtulink"
	"gatewayd/actors/dtulistener"
	"gatewayd/actors/erratic"
	"gatewayd/actors/httpserver"
	"gatewayd/actors/modbusfirewall"
	"gatewayd/actors/modbusgateway"
	"gatewayd/actors/modbusmqtt"
	"gatewayd/actors/modbusserver"
	"gatewayd/actors/modbusunit"
	"gatewayd/actors/mqttbridge"
	"gatewayd/actors/mqttbroker"
	"gatewayd/actors/mqttdevice"
	"gatewayd/actors/serialline"
	"gatewayd/actors/tcplink"
	"gatewayd/actors/track"
	"gatewayd/actors/uplinkhttp"
	"gatewayd/actors/uplinkmdi"
	"gatewayd/actors/uplinkmqtt"
	"gatewayd/actors/uplinkmunic"
	"gatewayd/actors/uplinknats"
	"gatewayd/actors/uplinksparkplug"
	"gatewayd/actors/uplinktr50"
)

// kinds lists every actor type this gateway can run. To add one, add its line.
var kinds = []actors.Kind{
	accesscontrol.Kind,
	auditlog.Kind,
	claimdoor.Kind,
	config.Kind,
	drill.Kind,
	dtulink.Kind,
	dtulistener.Kind,
	erratic.Kind,
	httpserver.Kind,
	modbusfirewall.Kind,
	modbusgateway.Kind,
	modbusmqtt.Kind,
	modbusserver.Kind,
	modbusunit.Kind,
	mqttbridge.Kind,
	mqttbroker.Kind,
	mqttdevice.Kind,
	serialline.Kind,
	tcplink.Kind,
	track.Kind,
	uplinkhttp.Kind,
	uplinkmdi.Kind,
	uplinkmqtt.Kind,
	uplinkmunic.Kind,
	uplinknats.Kind,
	uplinksparkplug.Kind,
	uplinktr50.Kind,
}
