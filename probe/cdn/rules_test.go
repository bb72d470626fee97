package cdn

import (
	"slices"
	"strings"
	"testing"

	"faultline/probe"
)

// What the answers of each carry, healthy or not.
const (
	cf      = "Server: cloudflare\nCF-RAY: 8e1f00c0ffee1234-LHR\n"
	fastly  = "Via: 1.1 varnish\nX-Served-By: cache-lhr7321-LHR\nX-Timer: S1767693600.123456,VS0,VE1\n"
	aws     = "Via: 1.1 58bfg7h6fg76h8fg7jhdf2a1.cloudfront.net (CloudFront)\nX-Amz-Cf-Id: sX5QSkbAzSw==\n"
	awsEdge = aws + "Server: CloudFront\n"
	ghost   = "Server: AkamaiGHost\n"
	afd     = "x-azure-ref: 20260106T100000Z-15b8f6d4c7f\n"
	goog    = "Via: 1.1 google\n"
	imperva = "X-CDN: Imperva\nX-Iinfo: 10-12345678-12345679 NNNN CT(0 0 0)\n"
	bunny   = "Server: BunnyCDN-FR1-998\nCDN-Status: 502\n"
	vercel  = "Server: Vercel\nX-Vercel-Id: lhr1::fs8k9-1767693600268\n"
	netlify = "Server: Netlify\nX-Nf-Request-Id: 01FWYDPYSG7948J52F2P6MCB3S\n"
	squid   = "Server: squid/5.7\nVia: 1.1 edge.test (squid/5.7)\n"
)

// sample is one answer and the rule that must decide it.
type sample struct {
	rule string // CDN/id, "" = no rule
	head string // status and reason, then headers
	body string
	want probe.Fault
}

func stub(edet string) string {
	return `<iframe src="/_Incapsula_Resource?CWUDNSAI=27&xinfo=10-1&edet=` + edet + `&cinfo=04000000">Request unsuccessful. Incapsula incident ID: 688-731</iframe>`
}

func modern(n string) string {
	return `<div id="cf-error-details"><h1 class="inline-block"><span data-translate="error">Error</span>
         <span>` + n + `</span></h1></div>`
}

func guru(line string) string {
	return "<h1>Error 503 " + line + "</h1><p>" + line + "</p><h3>Guru Mediation:</h3><p>Details: cache-lhr7321-LHR 1623146400 2324510307</p>"
}

func numbered(n string) string {
	return `<div id="cf-wrapper"><span class="cf-error-code">` + n + `</span></div>`
}

func boxes(cloudflare, host string) string {
	return `<div id="cf-wrapper"><div id="cf-cloudflare-status" class="` + cloudflare + `relative"></div><div id="cf-host-status" class="` + host + `relative"></div></div>`
}

const (
	none    = probe.FaultNone
	edge    = probe.FaultEdge
	origin  = probe.FaultOrigin
	blocked = probe.FaultBlocked
	config  = probe.FaultConfig
	unclear = probe.FaultAmbiguous
)

var samples = []sample{
	{"cloudflare/challenge-header", "403 Forbidden\n" + cf + "cf-mitigated: challenge\n", "", blocked},
	{"cloudflare/challenge-header", "429 Too Many Requests\n" + cf + "cf-mitigated: challenge\n", "", blocked},
	{"cloudflare/challenge-header", "200 OK\n" + cf + "cf-mitigated: challenge\n", "", blocked},
	{"cloudflare/mitigated-other", "403 Forbidden\n" + cf + "cf-mitigated: block\n", "", blocked},
	{"cloudflare/challenge-page", "503 Service Temporarily Unavailable\n" + cf, `<h1>Checking your browser before accessing</h1><form id="challenge-form"><input name="jschl_vc">`, blocked},
	{"cloudflare/challenge-page", "503 Service Temporarily Unavailable\n" + cf, `<body><span class="cf-browser-verification">`, blocked},
	{"cloudflare/error-rate-limited", "429 \n" + cf, numbered("1015"), blocked},
	{"cloudflare/error-denied", "403 Forbidden\n" + cf, numbered("1005"), blocked},
	{"cloudflare/error-denied", "403 Forbidden\n" + cf, `{"error_code":1010,"cloudflare_error":true}`, blocked},
	{"cloudflare/attention", "403 Forbidden\n" + cf, "<title>Attention Required! | Cloudflare</title><div id=\"cf-wrapper\">", blocked},
	{"cloudflare/error-config", "403 Forbidden\n" + cf, modern("1000"), config},
	{"cloudflare/error-config", "409 Conflict\n" + cf, modern("1001"), config},
	{"cloudflare/error-config", "500 \n" + cf, modern("1101"), config},
	{"cloudflare/error-origin", "503 \n" + cf, modern("1200"), origin},
	{"cloudflare/host-box", "502 Bad Gateway\n" + cf, `<div id="cf-wrapper"><div id="cf-host-status" class="cf-column cf-host-status cf-error-source">`, origin},
	{"cloudflare/edge-box", "500 \n" + cf, `<div id="cf-wrapper"><div id="cf-cloudflare-status" class="cf-column cf-cloudflare-status cf-error-source">`, edge},
	{"", "404 Not Found\n" + cf, "<li>Sorry, you have been blocked - what now?", none}, // a forum's own page
	{"", "502 Bad Gateway\n" + cf + "Content-Type: application/json\n", `{"message":"upstream said <hr><center>cloudflare</center>"}`, origin},
	{"", "500 \n" + cf + "Content-Type: application/problem+json; charset=utf-8\n", `{"detail":"there is an internal server error on Cloudflare's network"}`, origin},
	{"", "500 \n" + cf, "<pre>got &lt;hr&gt;&lt;center&gt;cloudflare&lt;/center&gt;</pre>", origin},
	{"", "502 Bad Gateway\n" + cf, "<p>Hosting: <center>cloudflare</center>", origin},
	{"", "502 Bad Gateway\n" + cf, "", unclear},
	{"", "500 \nServer: Microsoft-IIS/10.0\nServer-Timing: ak_p; desc=\"1\"\nX-Akamai-Request-ID: 1\n", "Quote Reference #24.1187", origin},
	{"akamai/challenge-page", "200 OK\nSet-Cookie: sec_cpt=1\nX-Akamai-Request-ID: 1\n", `<div id="sec-if-cpt-container">`, blocked},
	{"fastly/illegal-vary", "503 Loop detected\n" + fastly, guru("Loop detected"), config},
	{"imperva/js-check", "200 OK\n" + imperva, `<META NAME="robots" CONTENT="noindex,nofollow"><script src="/_Incapsula_Resource?SWJIYLWA=5074">`, blocked},
	{"sucuri/js-check", "200 OK\nServer: Sucuri/Cloudproxy\nX-Sucuri-ID: 14014\n", "<script>sucuri_cloudproxy_js='',S='cz0n'", blocked},
	{"netlify/paused", "503 Service Unavailable\n" + netlify, "<code>usage_exceeded</code>", config},
	{"alibaba/js-check", "200 OK\nServer: Tengine\nSet-Cookie: acw_tc=0bc1\n", `<script>var arg1='3F4A';setCookie("acw_sc__v2",x)`, blocked},
	{"huawei/waf", "418 \nServer: CloudWAF\nSet-Cookie: HWWAFSESID=1\n", "", blocked},
	{"qrator/js-check", "401 Unauthorized\nServer: QRATOR\nSet-Cookie: qrator_jsr=1\n", "", blocked},
	{"arvancloud/js-check", "200 OK\nServer: ArvanCloud\n", `<script src="/cdn-ar/challenge.js">`, blocked},
	{"generic/ps-internal-own", "500 \nProxy-Status: CDN; error=proxy_internal_error; details=\"pool 6\\\" full, retry\"\n", "", edge},
	{"generic/ps-internal-inner", "500 \nProxy-Status: Inner; error=proxy_internal_error\nProxy-Status: CDN; received-status=500\n", "", origin},
	{"baidu/made-no-cause", "502 Bad Gateway\nServer: yunjiasu-nginx\n", "<hr><center>yunjiasu-nginx</center>", unclear},
	{"cdn77/made-no-cause", "502 Bad Gateway\nServer: CDN77-Turbo\n", "<hr><center>CDN77-Turbo</center>", unclear},
	{"keycdn/made-no-cause", "504 Gateway Time-out\nServer: keycdn\n", "<hr><center>keycdn</center>", unclear},
	{"wangsu/made-no-cause", "504 Gateway Timeout\nX-Ws-Request-Id: 1\n", "Generated by PSz:4 (Cdn Cache Server V2.0)", unclear},
	{"wangsu/to-origin", "504 Gateway Timeout\nX-Ws-Request-Id: 1\n", "(110) Connection timed out. Generated by PSz:4 (Cdn Cache Server V2.0)", origin},
	{"akamai/challenge-crypto", "428 \n" + ghost + "Set-Cookie: sec_cpt=abc\n", "{}", blocked},
	{"alibaba/made-no-cause", "504 \nX-Swift-SaveTime: 1\n", "<td>ens-cache2.de5</td><hr/>Powered by Tengine", unclear},
	{"", "503 \nServer: ddos-guard\n", "<footer><a href=\"https://ddos-guard.net\">DDoS-Guard</a>", origin},
	{"", "405 Method Not Allowed\nServer: ESA\nAllow: POST\n", "no", none},
	{"", "502 Bad Gateway\nServer: nginx\n", "we are swapping our FortiWeb appliance", origin},
	{"generic/state-page", "200 OK\n", "<p>Доступ к запрашиваемому ресурсу ограничен", blocked},
	{"generic/state-page", "200 OK\n", "<p>\xc4\xee\xf1\xf2\xf3\xef \xea \xe7\xe0\xef\xf0\xe0\xf8\xe8\xe2\xe0\xe5\xec\xee\xec\xf3 \xf0\xe5\xf1\xf3\xf0\xf1\xf3 \xee\xe3\xf0\xe0\xed\xe8\xf7\xe5\xed", blocked}, // Windows-1251
	{"generic/portal-page", "200 OK\nServer: lighttpd\n", "<!-- <WISPAccessGatewayParam>", blocked},
	{"generic/ps-origin", "504 \nProxy-Status: CDN; details=\"gave up; error=proxy_internal_error\"; error=http_response_timeout\n", "", origin},
	{"generic/ps-origin", "502 \nProxy-Status: \"E, \\\"CDN\\\"\"; details=\"ask \\\"ops\\\"; error=destination_not_found\"; error=tls_certificate_error\n", "", origin},
	{"cloudflare/error-config", "503 Service Unavailable\n" + cf, numbered("1023"), config},
	{"cloudflare/error-config", "403 Forbidden\n" + cf + "Content-Type: text/plain; charset=UTF-8\n", "error code: 1003", config},
	{"cloudflare/error-config", "500 Internal Server Error\n" + cf + "cf-error-type: 1102\n", "a page of the site", config},
	{"cloudflare/error-origin", "530 \n" + cf, numbered("1033"), origin},
	{"cloudflare/error-origin", "502 \n" + cf + "Content-Type: text/plain\n", "error code: 522", origin},
	{"cloudflare/edge-box", "500 Internal Server Error\n" + cf, boxes("cf-error-source ", ""), edge},
	{"cloudflare/edge-box", "500 Internal Server Error\n" + cf, "<p>There is an internal server error on Cloudflare&#39;s network.</p>", edge},
	{"cloudflare/unbranded", "502 Bad Gateway\n" + cf, "<hr><center>cloudflare</center>", edge},
	{"cloudflare/unbranded", "502 Bad Gateway\n" + cf, "<hr><center>cloudflare-nginx</center>", edge},
	{"cloudflare/unbranded", "500 Internal Server Error\n" + cf, "<hr><center>cloudflare</center>", edge},
	{"cloudflare/host-box", "504 Gateway Time-out\n" + cf, boxes("", "cf-error-source "), origin},
	{"cloudflare/host-box", "502 Bad Gateway\n" + cf, boxes("cf-error-source ", "cf-error-source "), origin},
	{"cloudflare/52x", "522 \n" + cf, "", origin},
	{"cloudflare/530-no-number", "530 \n" + cf, "", unclear},
	{"cloudflare/made-no-cause", "502 Bad Gateway\n" + cf + "Content-Type: text/plain; charset=UTF-8\n", "error code: 502", unclear},
	{"cloudflare/made-no-cause", "500 \n" + cf, numbered("1999"), unclear},
	// What an origin says through Cloudflare stays the origin's, whatever it quotes.
	{"", "500 Internal Server Error\n" + cf + "Content-Type: application/json\n", `{"error":"internal"}`, origin},
	{"", "504 Gateway Time-out\n" + cf, "<hr><center>openresty</center>", origin},
	{"", "503 Service Unavailable\n" + cf, "<h1>Down</h1><p>" + strings.Repeat("as on 2 July 2019. ", 200) + "<hr><center>cloudflare</center></p>", origin},
	{"", "503 Service Unavailable\n" + cf, `<h1>Maintenance</h1><script src="/cdn-cgi/challenge-platform/scripts/jsd/main.js"></script>`, origin},
	{"", "200 OK\n" + cf, "<article><h1>502 Bad Gateway</h1><hr><center>cloudflare</center> Reference #18.1 Guru Mediation: Attention Required! | Cloudflare", none},
	{"", "503 Service Unavailable\n" + cf + "Content-Encoding: br\n", "\x0b\x05\x80<\x00\x01\x02\xff\x03", unclear},
	{"cloudflare/error-rate-limited", "429 \n" + cf + "Content-Type: text/markdown\n", "---\nerror_code: 1015\ncloudflare_error: true\n---", blocked},
	{"", "413 Payload Too Large\n" + cf, "<center><h1>413 Request Entity Too Large</h1></center><hr><center>cloudflare</center>", none},
	{"generic/403", "403 Forbidden\n" + cf, "<h1>Server Error</h1><h2>403 Forbidden</h2>", blocked},
	{"generic/varnish", "503 Backend fetch failed\n" + cf, "<h3>Guru Meditation:</h3><p>XID: 32773</p>", origin},

	{"fastly/ngwaf", "406 Not Acceptable\n" + fastly, "Not Acceptable", blocked},
	{"fastly/unknown-domain", "404 Unknown Domain\nVia: 1.1 varnish\n", "Fastly error: unknown domain: www.example.com.", config},
	{"fastly/unknown-domain", "500 Fastly error: unknown domain www.example.com\n" + fastly, "", config},
	{"fastly/wrong-certificate-host", "421 Misdirected Request\n" + fastly, "Requested host does not match any Subject Alternative Names (SANs) on TLS certificate", config},
	{"fastly/illegal-vary", "503 illegal vary over-writing\n" + fastly, guru("illegal vary over-writing"), config},
	{"fastly/github-pages-no-site", "404 Not Found\nServer: GitHub.com\nX-GitHub-Request-Id: A1:B2\n" + fastly, "<p><strong>There isn't a GitHub Pages site here.</strong></p>", config},
	{"fastly/reason", "503 Connection reset by peer\n" + fastly, "", origin},
	{"fastly/reason", "503 Service Unavailable\n" + fastly, "<p>first byte timeout</p><p>Error 54113</p><p>Details: cache-lhr7321-LHR</p>", origin},
	{"fastly/no-reason", "503 Service Unavailable\n" + fastly, guru("Service Unavailable"), unclear},
	{"fastly/no-reason", "503 \n" + fastly, "<h1>Error 503</h1><p>Error 54113</p>", unclear},
	{"fastly/reason-lost", "503 \n" + fastly, "", unclear},
	{"", "503 Service Unavailable\n" + fastly, "<h1>Our app is down</h1>", origin},
	{"generic/429", "429 Too Many Requests\n" + fastly, "", blocked},

	{"cloudfront/waf-challenge", "405 Method Not Allowed\n" + awsEdge + "x-amzn-waf-action: captcha\n", "", blocked},
	{"cloudfront/waf-block", "403 Forbidden\n" + awsEdge, "Request blocked. We can't connect to the server for this app", blocked},
	{"cloudfront/geo-block", "403 Forbidden\n" + awsEdge, "The Amazon CloudFront distribution is configured to block access from your country.", blocked},
	{"cloudfront/function-error", "503 Service Unavailable\n" + awsEdge + "X-Cache: LambdaLimitExceeded from cloudfront\n", "", config},
	{"cloudfront/function-answer", "503 Service Unavailable\n" + awsEdge + "X-Cache: LambdaGeneratedResponse from cloudfront\n", "", origin},
	{"cloudfront/origin-name", "502 Bad Gateway\n" + awsEdge, "CloudFront wasn&#39;t able to resolve the origin domain name.", config},
	{"cloudfront/lambda-result", "502 Bad Gateway\n" + awsEdge, "The Lambda function result failed validation: the body is not a string", config},
	{"cloudfront/bad-request", "403 Forbidden\n" + awsEdge, "Bad request. We can't connect to the server for this app", config},
	{"cloudfront/s3-denied", "403 Forbidden\n" + aws + "Server: AmazonS3\n", "<Error><Code>AccessDenied</Code></Error>", config},
	{"cloudfront/origin-unreachable", "504 Gateway Timeout\n" + awsEdge, "CloudFront attempted to establish a connection with the origin", origin},
	{"cloudfront/made-no-cause", "503 Service Unavailable\n" + awsEdge, "CloudFront is temporarily unable to satisfy the request", unclear},
	{"", "503 Service Unavailable\n" + aws + "Server: awselb/2.0\nX-Cache: Error from cloudfront\n", "<center>503</center>", origin},
	{"", "503 Slow Down\n" + aws + "Server: AmazonS3\nX-Cache: Error from cloudfront\n", "<Error><Code>SlowDown</Code></Error>", origin},

	{"akamai/denied", "403 Forbidden\n" + ghost, "Reference&#32;&#35;18&#46;eb5e8c4f&#46;1620973349&#46;187d926b", blocked},
	{"akamai/denied", "403 Forbidden\n" + ghost, "https://errors.edgesuite.net/24.eb5e8c4f.1620973349.187d926b", blocked},
	{"akamai/config", "503 Service Unavailable\n" + ghost, "Reference #11.4c9c1002.1433170000.1a2b3c4d", config},
	{"akamai/to-origin", "504 Gateway Time-out\n" + ghost, "Reference #97.1faa9d50.1386767216.b7ccfbd", origin},
	{"akamai/storage", "404 Not Found\nServer: AkamaiNetStorage\n", "", none},
	{"akamai/access-denied-page", "403 Forbidden\n" + ghost, `You don't have permission to access "http://www.example.com/" on this server.`, blocked},
	{"akamai/made-no-cause", "503 Service Unavailable\n" + ghost, "Reference #102.4c9c1002.1433170000.1a2b3c4d", unclear},
	{"akamai/made-no-cause", "503 Service Unavailable\n" + ghost, "", unclear},
	{"", "503 Service Unavailable\nServer: Apache\nX-Akamai-Transformed: 9 - 0 pmb=mRUM,1\n", "<h1>Service Unavailable</h1>", origin},

	{"azure-front-door/waf", "403 Forbidden\n" + afd, "<h2>The request is blocked.</h2>", blocked},
	{"azure-front-door/internal-error", "503 \n" + afd + "X-Azure-InternalError: 0x80004005\n", "", edge},
	{"azure-front-door/external-error", "503 \n" + afd + "X-Azure-ExternalError: 0x830c1011\n", "", origin},
	{"azure-front-door/origin-status", "502 \n" + afd + "X-Azure-OriginStatusCode: 502\n", "Our services aren't available right now", origin},
	{"azure-front-door/no-config", "404 Not Found\n" + afd, "Oops! We weren't able to find your Azure Front Door Service configuration.", config},
	{"azure-front-door/generic-page", "503 \n" + afd, "<h2>Our services aren't available right now</h2>", unclear},

	{"google/armor", "403 Forbidden\n" + goog, "<!doctype html><title>403</title>403 Forbidden", blocked},
	{"google/envoy-upstream", "503 Service Unavailable\n" + goog, "no healthy upstream", origin},
	{"google/robot-page", "502 Bad Gateway\nServer: gws\n", "<p><b>502.</b> <ins>That’s an error.</ins>", unclear},
	{"google/robot-page", "502 Bad Gateway\nReferrer-Policy: no-referrer\n", "<a href=//www.google.com/><style>{background:url(//www.google.com/images/errors/robot.png)}</style><b>502.</b> <ins>That&rsquo;s an error.</ins>", unclear},
	{"google/load-balancer", "502 Bad Gateway\n" + goog, "<h1>Error: Server Error</h1> Please try again in 30 seconds.", unclear},

	{"imperva/challenge", "200 OK\n" + imperva, stub("12"), blocked},
	{"imperva/denied", "403 Forbidden\n" + imperva, stub("16"), blocked},
	{"imperva/config", "503 \n" + imperva, stub("22"), config},
	{"imperva/to-origin", "503 \n" + imperva, stub("8"), origin},
	{"imperva/stub", "403 Forbidden\n" + imperva, stub("99"), blocked},
	{"imperva/made-no-cause", "503 \n" + imperva, stub("3"), unclear},
	{"", "200 OK\n" + imperva, `<html><script src="/_Incapsula_Resource?SWJIYLWA=719d34d3"></script>hello</html>`, none},

	{"sucuri/block", "403 Forbidden\nX-Sucuri-ID: 12013\nX-Sucuri-Block: EVA079\n", "", blocked},
	{"sucuri/block-page", "403 Forbidden\nX-Sucuri-ID: 12013\n", "<title>Sucuri WebSite Firewall - Access Denied</title>", blocked},
	{"sucuri/gateway-timeout", "504 \nX-Sucuri-ID: 12013\n", "Backend or gateway connection timeout", origin},

	{"bunny/challenge", "403 Forbidden\n" + bunny, "<h1>Establishing a secure connection ...</h1>", blocked},
	{"bunny/pull-code", "503 \n" + bunny + "CDN-RequestPullCode: 503\n", "", origin},
	{"bunny/suspended", "403 Forbidden\n" + bunny, "<h1>Domain suspended</h1>", config},
	{"bunny/origin-name", "502 \n" + bunny, "<p>Could not resolve origin host</p>", config},
	{"bunny/made-no-cause", "504 \n" + bunny + "ErrorCode: 106\n", "", unclear},
	{"bunny/no-pull", "502 \n" + bunny, "<h1>502</h1>", unclear},

	{"vercel/mitigated-challenge", "429 \n" + vercel + "x-vercel-mitigated: challenge\n", "", blocked},
	{"vercel/mitigated", "403 Forbidden\n" + vercel + "x-vercel-mitigated: deny\n", "", blocked},
	{"vercel/internal", "500 \n" + vercel + "x-vercel-error: INTERNAL_EDGE_FUNCTION_INVOCATION_FAILED\n", "", edge},
	{"vercel/config", "404 Not Found\n" + vercel + "x-vercel-error: DEPLOYMENT_NOT_FOUND\n", "", config},
	{"vercel/own-code", "504 \n" + vercel + "x-vercel-error: FUNCTION_INVOCATION_TIMEOUT\n", "", origin},
	{"vercel/made-no-cause", "500 \n" + vercel + "x-vercel-error: SOMETHING_NEW\n", "", unclear},

	{"netlify/not-found-page", "404 Not Found\n" + netlify, "Not Found - Request ID: 01FWYDPYSG7948J52F2P6MCB3S", config},
	{"netlify/function-failed", "502 Bad Gateway\n" + netlify, "error decoding lambda response: unexpected end of JSON input", unclear},
	{"netlify/empty", "502 Bad Gateway\n" + netlify, "", unclear},
	{"heroku/no-such-app", "404 Not Found\nVia: 1.1 vegur\n", `<iframe src="//www.herokucdn.com/error-pages/no-such-app.html">`, config},
	{"heroku/application-error", "503 \nVia: 1.1 heroku-router\n", "<title>Application Error</title>", origin},
	{"fly/no-answer", "502 Bad Gateway\nServer: Fly/9c9b5d5 (2026-01-01)\nFly-Request-Id: 01J0-lhr\n", "", unclear},

	{"tencent-edgeone/rate-limit", "514 \nEO-LOG-UUID: 1487\n", "", blocked},
	{"tencent-edgeone/denied", "566 \nEO-LOG-UUID: 1487\n", "", blocked},
	{"tencent-edgeone/config", "418 \nEO-LOG-UUID: 1487\n", "", config},
	{"tencent-edgeone/to-origin", "524 \nEO-LOG-UUID: 1487\n", "", origin},
	{"tencent-cdn/limit", "514 \nX-NWS-LOG-UUID: 1234\n", "", blocked},
	{"tencent-cdn/to-origin", "540 \nX-NWS-LOG-UUID: 1234\n", "", origin},
	{"alibaba/waf", "405 Not Allowed\nServer: Tengine\nSet-Cookie: acw_tc=0bc1;path=/\n", "", blocked},
	{"alibaba/origin-5xx", "503 \nServer: Tengine\nX-Swift-Error: orig response 5XX error\n", "", origin},
	{"alibaba/swift-error-other", "503 \nServer: Tengine\nX-Swift-Error: something else\n", "", unclear},
	{"ddos-guard/check", "403 Forbidden\nServer: ddos-guard\n", "<title>DDoS-Guard</title>", blocked},
	{"ddos-guard/gateway", "502 \nServer: ddos-guard\n", "<title>DDoS-Guard</title> origin", origin},
	{"qrator/503", "503 \nServer: QRATOR\n", "", unclear},

	{"generic/ps-denied", "403 Forbidden\nProxy-Status: SomeCDN; error=http_request_denied\n", "", blocked},
	{"generic/ps-config", "500 \nProxy-Status: SomeCDN; error=destination_not_found\n", "", config},
	{"generic/ps-dns", "502 \nProxy-Status: SomeCDN; error=dns_error; rcode=\"NXDOMAIN\"\n", "", origin},
	{"generic/ps-origin", "502 \nProxy-Status: SomeCDN; error=\"http_response_incomplete\"\n", "", origin},
	{"generic/ps-limit", "503 \nProxy-Status: SomeCDN; error=connection_limit_reached\n", "", unclear},
	{"generic/ps-internal-own", "502 \nProxy-Status: SomeCDN; error=proxy_internal_error; details=\"a, b\"\n", "", edge},
	{"generic/ps-internal-inner", "500 \nProxy-Status: Inner; error=proxy_internal_error, SomeCDN\n", "", origin},
	{"generic/ps-internal-unclear", "500 \n" + fastly + "Proxy-Status: who; error=proxy_internal_error\n", "oops", unclear},
	{"generic/ps-internal-unclear", "500 \n" + fastly + "Proxy-Status: who; error=proxy_internal_error; details=\"a, b\"\n", "oops", unclear},
	{"generic/ps-origin", "502 \nProxy-Status: Inner; error=connection_refused, SomeCDN; error=proxy_internal_error\n", "", origin},
	{"generic/ps-received", "503 \nProxy-Status: SomeCDN; received-status=503\n", "", origin},

	{"generic/511", "511 Network Authentication Required\n", "login", blocked},
	{"generic/portal-redirect", "302 Found\nLocation: http://captive.example/?orig=http%3A%2F%2Fwww.example.com%2F\n", "", blocked},
	{"", "302 Found\nLocation: https://login.example.com/?continue=https%3A%2F%2Fwww.example.com%2F\n", "", none},
	{"generic/filter-redirect", "302 Found\nLocation: http://10.0.0.1:15871/cgi-bin/blockpage.cgi?ws-session=1\n", "", blocked},
	{"generic/filter-server", "200 OK\nServer: Protected by WireFilter 8000\n", "", blocked},
	{"generic/filter-page", "200 OK\n", "<title>Notification: Policy: URL Filtering</title>", blocked},
	{"generic/court-page", "403 Forbidden\n", "Access to this site has been blocked by an Order issued by the Federal Court of Canada", blocked},
	{"", "200 OK\n" + cf, "<p>Access to this site has been blocked by an Order issued by the Federal Court of Canada, it said.", none},

	{"generic/state-redirect", "302 Found\nLocation: http://www.warning.or.kr/i3.html\n", "", blocked},
	{"generic/state-page", "200 OK\nServer: nginx\n", "<title>Доступ ограничен</title> <a href=\"http://eais.rkn.gov.ru/\">", blocked},
	{"generic/state-page", "403 Forbidden\n", "<html><body><iframe src=\"http://10.10.34.34?type=Invalid Site&policy=MainPolicy\"></iframe>", blocked},
	{"", "200 OK\nServer: nginx\n", "<p>" + strings.Repeat("a news page about eais.rkn.gov.ru ", 300), none},
	{"generic/waf-page", "200 OK\n", "<title>Request Rejected</title>The requested URL was rejected. Please consult with your administrator.<br>Your support ID is: 1", blocked},
	{"generic/waf-error", "503 Service Unavailable\nServer: Apache\n", "<p>Generated by Wordfence at Mon, 23 Nov 2026</p>", blocked},
	{"generic/bot-check-header", "202 Accepted\nServer: nginx\nSG-Captcha: challenge\n", "", blocked},
	{"generic/bot-check-anubis", "200 OK\nSet-Cookie: techaro.lol-anubis-cookie-verification=1\n", "<img src=\"/.within.website/x/cmd/anubis/static/img/pensive.webp\">", blocked},
	{"generic/bot-check-instead", "200 OK\nServer: nginx\n", "<script id=\"anubis_version\" type=\"application/json\">", blocked},
	{"generic/waf-error", "403 Forbidden\n" + cf, "<title>Request Rejected</title>", blocked},
	{"generic/bot-check-page", "403 Forbidden\n" + cf, "<script src=\"https://ct.captcha-delivery.com/c.js\"></script>", blocked},
	{"", "200 OK\n", strings.Repeat("<p>", 4000) + "geo.captcha-delivery.com", none},
	{"generic/407", "407 Proxy Authentication Required\n", "", probe.FaultLocal},
	{"generic/451", "451 Unavailable For Legal Reasons\nServer: nginx\n", "", blocked},
	{"generic/aws-waf-challenge", "202 Accepted\nServer: awselb/2.0\nx-amzn-waf-action: challenge\n", "", blocked},
	{"generic/squid-denied", "403 Forbidden\n" + squid + "X-Squid-Error: ERR_ACCESS_DENIED 0\n", "", blocked},
	{"generic/squid-connect", "503 \n" + squid + "X-Squid-Error: ERR_CONNECT_FAIL 111\n", "", unclear},
	{"generic/squid-origin", "502 \n" + squid + "X-Squid-Error: ERR_READ_ERROR 104\n", "", origin},
	{"generic/varnish", "503 VCL failed\nServer: Varnish\n", "<h3>Guru Meditation:</h3><p>XID: 32770</p>", origin},
	{"generic/haproxy", "503 \n", "<h1>503 Service Unavailable</h1>\nNo server is available to handle this request.", origin},
	{"generic/trafficserver", "502 connect failed\nVia: http/1.1 edge.test (ApacheTrafficServer/9.2.9)\n", "", origin},
	{"", "502 Bad Gateway\nServer: Microsoft-Azure-Application-Gateway/v2\n", "<center>Microsoft-Azure-Application-Gateway/v2</center>", origin},
	{"", "404 Not Found\nServer: nginx\n", "", none},
	{"", "500 Internal Server Error\nServer: nginx\n", boxes("cf-error-source ", ""), origin}, // an imitation
}

func (h sample) evidence(t testing.TB) *probe.Evidence {
	t.Helper()
	e := Saved([]byte("HTTP/1.1 " + h.head + "\n" + h.body))
	if e.Class != probe.ClassOK {
		t.Fatalf("%v: %s", e.Class, e.Detail)
	}
	return e
}

// ruleNames gives every rule its full name.
func ruleNames(r *Rules) map[*rule]string {
	names := map[*rule]string{nil: ""}
	for _, v := range r.vendors {
		for _, rules := range v.rules {
			for _, by := range rules {
				names[by] = v.name + "/" + by.id
				if v.name == "" {
					names[by] = "generic/" + by.id
				}
			}
		}
	}
	return names
}

func TestRules(t *testing.T) {
	r := mustLoad(t)
	names := ruleNames(r)
	for _, h := range samples {
		v, by := r.judge(r.newState(), h.evidence(t), probe.Fronting{})
		if names[by] != h.rule || v.Fault != h.want {
			t.Errorf("%q %.80q: got %v by %q (%s), want %v by %q", h.head, h.body, v.Fault, names[by], v.Why, h.want, h.rule)
		}
		if strings.Contains(v.Why, "{") || v.Why == "" {
			t.Errorf("%q: got the sentence %q", h.head, v.Why)
		}
	}
}

// A rule that no answer here needs is not tested, or never decides anything because another one comes first.
func TestEveryRuleDecides(t *testing.T) {
	r := mustLoad(t)
	names := ruleNames(r)
	used := map[*rule]bool{nil: true}
	for _, h := range samples {
		_, by := r.judge(r.newState(), h.evidence(t), probe.Fronting{})
		used[by] = true
	}
	var unused []string
	for by, name := range names {
		if !used[by] {
			unused = append(unused, name)
		}
	}
	slices.Sort(unused)
	if len(unused) > 0 {
		t.Errorf("no test case is decided by %q", unused)
	}
}

func TestRuleFilesAreComplete(t *testing.T) {
	entries, err := embedded.ReadDir("rules")
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range entries {
		text, err := embedded.ReadFile("rules/" + d.Name())
		if err != nil {
			t.Fatal(err)
		}
		f := parseFile(d.Name(), text)
		if f.Name != "" && (f.Source == "" || f.Title == "" || f.Name+".toml" != d.Name()) {
			t.Errorf("%s: needs source and title, and to be called %s.toml", d.Name(), f.Name)
		}
		for _, o := range f.Operator {
			if o.Source == "" {
				t.Errorf("%s: operator %s has no source", d.Name(), o.Name)
			}
		}
	}
}
