//! Documents and their canonical forms: the examples of the Recommendation (§3), and what they leave
//! out. Where no subset is taken, an independent implementation gives the same bytes.

use super::super::{XmlError, parse};
use super::*;

fn whole(text: &str) -> String {
    let parsed = parse(text.as_bytes()).unwrap();
    String::from_utf8(super::document(&parsed, None).unwrap()).unwrap()
}

fn apex(text: &str, name: &str) -> Result<String, XmlError> {
    let parsed = parse(text.as_bytes()).unwrap();
    let node = parsed.descendants().find(|node| node.tag_name().name() == name).unwrap();
    element(node).map(|bytes| String::from_utf8(bytes).unwrap())
}

#[test]
fn instructions_stay_comments_and_declaration_go() {
    let text = "<?xml version=\"1.0\"?>\n\n<?xml-stylesheet   href=\"doc.xsl\"\n   type=\"text/xsl\"   ?>\n\n<doc>Hello, world!<!-- Comment 1 --></doc>\n\n<?pi-without-data     ?>\n\n<!-- Comment 2 -->\n\n<!-- Comment 3 -->";
    let canonical = "<?xml-stylesheet href=\"doc.xsl\"\n   type=\"text/xsl\"   ?>\n<doc>Hello, world!</doc>\n<?pi-without-data?>";
    assert_eq!(whole(text), canonical);
}

#[test]
fn white_space_in_content_stays() {
    let text = "<doc>\n   <clean>   </clean>\n   <mixed>\n      A\n      <clean>   </clean>\n      B\n   </mixed>\n</doc>";
    assert_eq!(whole(text), text);
}

#[test]
fn tags_are_written_in_one_way() {
    let text = r#"<doc>
   <e1   />
   <e2   ></e2  >
   <e3   name = "elem3"   id="elem3"   />
   <e5 a:attr="out" b:attr="sorted" attr2="all" attr="I'm"
      xmlns:b="http://www.ietf.org"
      xmlns:a="http://www.w3.org"
      xmlns="http://example.org"/>
   <e6 xmlns="" xmlns:a="http://www.w3.org">
      <e7 xmlns="http://www.ietf.org">
         <e8 xmlns="" xmlns:a="http://www.w3.org">
            <e9 xmlns="" xmlns:a="http://www.ietf.org"/>
         </e8>
      </e7>
   </e6>
</doc>"#;
    let canonical = r#"<doc>
   <e1></e1>
   <e2></e2>
   <e3 id="elem3" name="elem3"></e3>
   <e5 xmlns="http://example.org" xmlns:a="http://www.w3.org" xmlns:b="http://www.ietf.org" attr="I'm" attr2="all" b:attr="sorted" a:attr="out"></e5>
   <e6 xmlns:a="http://www.w3.org">
      <e7 xmlns="http://www.ietf.org">
         <e8 xmlns="">
            <e9 xmlns:a="http://www.ietf.org"></e9>
         </e8>
      </e7>
   </e6>
</doc>"#;
    assert_eq!(whole(text), canonical);
}

#[test]
fn references_and_cdata_become_text() {
    let text = "<doc>\n   <text>First line&#x0d;&#10;Second line</text>\n   <value>&#x32;</value>\n   <compute><![CDATA[value>\"0\" && value<\"10\" ?\"valid\":\"error\"]]></compute>\n   <compute expr='value>\"0\" &amp;&amp; value&lt;\"10\" ?\"valid\":\"error\"'>valid</compute>\n   <norm attr=' &apos;   &#x20;&#13;&#xa;&#9;   &apos; '/>\n</doc>";
    let canonical = "<doc>\n   <text>First line&#xD;\nSecond line</text>\n   <value>2</value>\n   <compute>value&gt;\"0\" &amp;&amp; value&lt;\"10\" ?\"valid\":\"error\"</compute>\n   <compute expr=\"value>&quot;0&quot; &amp;&amp; value&lt;&quot;10&quot; ?&quot;valid&quot;:&quot;error&quot;\">valid</compute>\n   <norm attr=\" '    &#xD;&#xA;&#x9;   ' \"></norm>\n</doc>";
    assert_eq!(whole(text), canonical);
}

#[test]
fn line_ends_are_line_feeds_and_letters_are_utf_8() {
    assert_eq!(whole("<a>\r\nb\rc &gt; &#xe9; \u{1f600}</a>"), "<a>\nb\nc &gt; é \u{1f600}</a>");
    assert_eq!(whole("<a b='x\r\ny\tz'/>"), "<a b=\"x y z\"></a>");
}

#[test]
fn a_prefix_is_kept_even_where_another_names_the_same_namespace() {
    let text = "<a xmlns='urn:u' xmlns:p='urn:u'><p:b p:x='1' x='2'/><b xmlns:p='urn:v' p:y='3' xml:lang='en'/></a>";
    let canonical = "<a xmlns=\"urn:u\" xmlns:p=\"urn:u\"><p:b x=\"2\" p:x=\"1\"></p:b><b xmlns:p=\"urn:v\" xml:lang=\"en\" p:y=\"3\"></b></a>";
    assert_eq!(whole(text), canonical);
}

#[test]
fn a_declaration_already_written_above_is_not_repeated() {
    let text = "<a xmlns='urn:u'><b xmlns='urn:u'><c xmlns=''><d xmlns=''/></c></b></a>";
    let canonical = "<a xmlns=\"urn:u\"><b><c xmlns=\"\"><d></d></c></b></a>";
    assert_eq!(whole(text), canonical);
}

#[test]
fn the_left_out_element_leaves_the_text_around_it() {
    let text = "<a xmlns='urn:u'> <b/> <s:c xmlns:s='urn:s'><d/></s:c> </a>";
    let parsed = parse(text.as_bytes()).unwrap();
    let out = parsed.descendants().find(|node| node.tag_name().name() == "c").unwrap();
    let canonical = document(&parsed, Some(out.id())).unwrap();
    assert_eq!(String::from_utf8(canonical).unwrap(), "<a xmlns=\"urn:u\"> <b></b>  </a>");
}

#[test]
fn a_subset_inherits_namespaces_language_and_space_but_no_id() {
    let text = "<r xmlns='urn:d' xmlns:u='urn:unused' xml:lang='de' xml:space='preserve' xml:id='i'><m xml:lang='fr'><k:s xmlns:k='urn:k' k:a='1' b='2'><t/></k:s></m></r>";
    let canonical = "<k:s xmlns=\"urn:d\" xmlns:k=\"urn:k\" xmlns:u=\"urn:unused\" b=\"2\" xml:lang=\"fr\" xml:space=\"preserve\" k:a=\"1\"><t></t></k:s>";
    // Namespaces by URI: that of xml begins with h, urn:k with u.
    assert_eq!(apex(text, "s").unwrap(), canonical);
    let own = text.replace("k:a='1'", "xml:lang='it'");
    assert!(apex(&own, "s").unwrap().contains(" xml:lang=\"it\""));
}

#[test]
fn a_base_above_a_subset_is_refused() {
    assert_eq!(apex("<r xml:base='urn:b'><s/></r>", "s"), Err(XmlError::Base));
    assert_eq!(apex("<r><s xml:base='b'/></r>", "s").unwrap(), "<s xml:base=\"b\"></s>");
}

#[test]
fn nesting_beyond_the_limit_is_refused() {
    let nest = |levels: usize| format!("{}{}", "<a>".repeat(levels), "</a>".repeat(levels));
    let canonical = |text: &str| document(&parse(text.as_bytes()).unwrap(), None).map(|_| ());
    assert_eq!(canonical(&nest(MAX_XML_DEPTH)), Ok(()));
    assert_eq!(canonical(&nest(MAX_XML_DEPTH + 1)), Err(XmlError::TooDeep));
    assert_eq!(canonical(&nest(6_000)), Err(XmlError::TooDeep));
}
